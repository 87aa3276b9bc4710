// Looks at a page of results, clicks on it, and writes what became of it into the page.
'use strict';

addEventListener('load', () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const width = (element) => element.getBoundingClientRect().width;

  function drawn() {
    const figures = all('figure svg').map((svg) => svg.getBoundingClientRect());
    const page = document.documentElement;
    return {
      figures: figures.length,
      empty: figures.filter((box) => box.width < 200 || box.height < 100).length,
      requests: performance.getEntriesByType('resource').length,
      sideways: page.scrollWidth - page.clientWidth,
    };
  }

  const table = one('#parameters table');
  const headings = [...table.tHead.rows[0].cells];

  function sort(column) {
    headings[column].querySelector('button').click();
    return {
      rows: [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(''),
      headings: headings.map((heading) => heading.getAttribute('aria-sort') ?? ''),
    };
  }

  function focused() {
    table.closest('details').open = true;
    headings[0].querySelector('button').focus();
    return document.activeElement.tagName;
  }

  // The one that is drawn wider than the page.
  function figure() {
    const seen = {};
    const chart = one('#figure-compared .chart');
    const viewer = one('dialog');
    const svg = chart.querySelector('svg');
    seen.drawn = svg.viewBox.baseVal.width;
    seen.inline = width(svg);
    chart.focus();
    seen.focused = document.activeElement === chart;
    chart.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
    seen.modal = viewer.matches(':modal');
    seen.opened = width(viewer.querySelector('svg'));
    // What Escape does: the viewer may refuse, or close.
    viewer.requestClose();
    seen.closed_by_escape = !viewer.open && width(viewer) === 0;
    seen.focused_again = document.activeElement === chart;
    svg.querySelector('text').dispatchEvent(new MouseEvent('click', { bubbles: true }));
    seen.opened_by_click = viewer.open;
    one('#viewer-close').click();
    seen.closed_by_button = !viewer.open;
    chart.click();
    viewer.click();
    seen.closed_beside = !viewer.open;
    return seen;
  }

  function theme() {
    return {
      paper: getComputedStyle(one('#overview .scroll')).backgroundColor,
      figure: getComputedStyle(one('figure svg rect')).fill,
      next: one('#theme').textContent,
      kept: localStorage.getItem('qpmux-theme'),
    };
  }

  function change() {
    one('#theme').click();
    return theme();
  }

  const seen = {
    drawn: drawn(),
    times: [sort(1), sort(1), sort(1)],
    notes: [sort(2), sort(2), sort(2)],
    other: [sort(0), sort(1)],
    focused: focused(),
    figure: figure(),
    themes: [theme(), change(), change(), change()],
  };
  const result = document.createElement('pre');
  result.id = 'seen';
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
