// What a page of results does beyond being read: light and dark, tables that sort, and figures at
// full size. The page runs this before its body is there, so that it is never drawn in the wrong
// colours first.
'use strict';

(() => {
  const root = document.documentElement;

  // Light and dark. What the reader chose is remembered, unless it is what the system has anyway:
  // then the page follows the system again.
  const KEY = 'qpmux-theme';
  const systemDark = matchMedia('(prefers-color-scheme: dark)');

  function remembered() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function remember(theme) {
    try {
      if (theme === null) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // A browser that keeps nothing for files: the choice holds until the page is closed.
    }
  }

  const system = () => (systemDark.matches ? 'dark' : 'light');
  const present = () => root.dataset.theme ?? system();
  const other = () => (present() === 'dark' ? 'light' : 'dark');

  function choose(theme) {
    if (theme === system()) delete root.dataset.theme;
    else root.dataset.theme = theme;
    remember(root.dataset.theme ?? null);
  }

  if (['light', 'dark'].includes(remembered())) root.dataset.theme = remembered();

  function themes() {
    const button = document.getElementById('theme');
    const label = () => { button.textContent = other() === 'dark' ? 'Dark' : 'Light'; };
    button.addEventListener('click', () => {
      choose(other());
      label();
    });
    systemDark.addEventListener('change', label);
    button.title = 'Switch between light and dark';
    button.hidden = false;
    label();
  }

  // Tables. A heading sorts upwards, then downwards, then gives back the order of the file.
  const words = new Intl.Collator('en', { numeric: true });

  function compare(a, b) {
    if (a.dataset.value !== undefined && b.dataset.value !== undefined) {
      return Number(a.dataset.value) - Number(b.dataset.value);
    }
    return words.compare(a.textContent, b.textContent);
  }

  // Numbers, then words, then nothing: in whichever direction.
  function rank(cell) {
    if (cell.classList.contains('missing')) return 2;
    return cell.dataset.value === undefined ? 1 : 0;
  }

  function sorted(rows, column, direction) {
    const cells = new Map(rows.map((row) => [row, row.cells[column]]));
    return rows.toSorted((left, right) => {
      const [a, b] = [cells.get(left), cells.get(right)];
      return rank(a) - rank(b) || direction * compare(a, b);
    });
  }

  function sortable(table) {
    const [body] = table.tBodies;
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener('click', () => {
        const was = heading.getAttribute('aria-sort');
        headings.forEach((each) => each.removeAttribute('aria-sort'));
        if (was === 'descending') {
          body.append(...original);
          return;
        }
        const down = was === 'ascending';
        heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        body.append(...sorted(original, column, down ? -1 : 1));
      });
    });
    // All digits of the number that is pointed at.
    body.addEventListener('mouseover', ({ target }) => {
      if (target.dataset.value !== undefined) target.title = target.dataset.value;
    });
  }

  // Figures. The viewer shows a copy, never smaller than it was drawn.
  function enlargeable(chart, viewer) {
    const title = chart.getAttribute('aria-label');
    const show = () => {
      const copy = chart.querySelector('svg').cloneNode(true);
      const { width, height } = copy.viewBox.baseVal;
      viewer.style.setProperty('--width', width);
      viewer.style.setProperty('--height', height);
      viewer.querySelector('.chart').replaceChildren(copy);
      viewer.setAttribute('aria-label', title);
      viewer.showModal();
    };
    chart.setAttribute('role', 'button');
    chart.setAttribute('aria-label', `${title}: show at full size`);
    chart.tabIndex = 0;
    chart.addEventListener('click', show);
    chart.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      show();
    });
  }

  function figures() {
    const viewer = document.getElementById('viewer');
    document.querySelectorAll('figure .chart').forEach((chart) => enlargeable(chart, viewer));
    document.getElementById('viewer-close').addEventListener('click', () => viewer.close());
    // Beside the figure is the dialog itself.
    viewer.addEventListener('click', ({ target }) => {
      if (target === viewer) viewer.close();
    });
    viewer.addEventListener('close', () => viewer.querySelector('.chart').replaceChildren());
  }

  document.addEventListener('DOMContentLoaded', () => {
    root.classList.add('script');
    themes();
    document.querySelectorAll('table').forEach(sortable);
    figures();
  });
})();
