//! Pages from outside: the same bytes every time, nothing from elsewhere, no text taken for markup.

#[path = "../examples/chart/synthetic.rs"]
mod charts;
#[path = "../examples/page/synthetic.rs"]
mod synthetic;

use std::collections::BTreeSet;

use qpmux_plots::PlotError;
use qpmux_plots::page::{Cell, Page, Section};
use synthetic::{HOSTILE, page};

/// The values of an attribute, in the order of the page.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let pattern = format!(" {attribute}=\"");
    html.split(&pattern).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The page without style, script and figures, which are not made of text.
fn without_own(html: &str) -> String {
    let mut rest = html.to_owned();
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>"), ("<svg ", "</svg>")] {
        while let Some(start) = rest.find(open) {
            let end = start + rest[start..].find(close).expect("it ends") + close.len();
            rest.replace_range(start..end, "");
        }
    }
    rest
}

#[test]
fn the_same_results_give_the_same_bytes() {
    assert_eq!(page().html().unwrap(), page().html().unwrap());
}

#[test]
fn text_is_never_markup() {
    let html = page().html().unwrap();
    assert_eq!(html.matches("<script").count(), 1);
    assert_eq!(html.matches("</script").count(), 1);
    assert_eq!(html.matches("<style").count(), 1);
    assert_eq!(html.matches("</style").count(), 1);
    assert!(!html.contains("<img"));
    let escaped = "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&gt;&lt;script&gt;";
    // Contents, overview, title, text, provenance twice, and a cell.
    assert_eq!(html.matches(escaped).count(), 7, "{HOSTILE}");
    assert!(html.contains("{{ 7 * 7 }}"), "text is no template");
    let everywhere = |page: &mut Page, text: &str| {
        page.title = text.to_owned();
        page.intro = vec![text.to_owned()];
        for section in &mut page.sections {
            for field in [&mut section.title, &mut section.about] {
                *field = text.to_owned();
            }
            section.wrong = Some(text.to_owned());
            section.command = Some(text.to_owned());
            section.tables.iter_mut().for_each(|table| {
                table.caption = text.to_owned();
                table.columns.iter_mut().for_each(|column| column.unit = text.to_owned());
                table.columns.iter_mut().for_each(|column| column.name = text.to_owned());
            });
        }
    };
    let (mut hostile, mut harmless) = (page(), page());
    everywhere(&mut hostile, HOSTILE);
    everywhere(&mut harmless, "x");
    let tags = |page: &Page| without_own(&page.html().unwrap()).matches('<').count();
    assert_eq!(tags(&hostile), tags(&harmless));
}

#[test]
fn nothing_is_asked_for_outside_the_page() {
    let html = page().html().unwrap();
    // A name space is no address, and what text says is not asked for.
    let alone = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").replace("img src=x", "");
    for address in ["http:", "https:", "url(", "@import", "src="] {
        assert!(!alone.contains(address), "{address}");
    }
    for link in values(&html, "href") {
        assert!(link.starts_with('#') || link == "data:,", "{link}");
    }
    let policy = "content=\"default-src 'none'; base-uri 'none'; form-action 'none'; ";
    assert!(html.contains(policy));
    assert!(!html.contains("unsafe-inline"));
}

#[test]
fn names_of_elements_are_unique_and_links_lead_to_them() {
    let html = page().html().unwrap();
    let ids = values(&html, "id");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    assert!(unique.contains("figure-eight") && unique.contains("overview"));
    for link in values(&html, "href").into_iter().filter_map(|link| link.strip_prefix('#')) {
        assert!(unique.contains(link), "{link}");
    }
}

#[test]
fn all_colours_of_figures_have_one_for_dark_pages() {
    let html = page().html().unwrap();
    let (head, body) = html.split_once("<body>").unwrap();
    let mut seen = BTreeSet::new();
    for what in ["fill", "stroke"] {
        for colour in values(body, what).into_iter().filter(|colour| *colour != "none") {
            assert!(head.contains(&format!(".chart [{what}=\"{colour}\"] {{ {what}: light-dark(")));
            seen.insert(colour);
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn numbers_are_shown_short_and_kept_whole() {
    let html = page().html().unwrap();
    let cells = [
        "data-value=\"10.123456789\">10.12</td>",
        "data-value=\"-1234567.5\">-1,234,568</td>",
        "data-value=\"1e-9\">1e-9</td>",
        "data-value=\"0.0471754457626441\">4.7 %</td>",
        "class=\"missing number\">\u{2013}</td>",
        "class=\"missing\">\u{2013}</td>",
    ];
    for cell in cells {
        assert!(html.contains(cell), "{cell}");
    }
}

#[test]
fn an_empty_page_is_one() {
    let html = Page { title: "Nothing".to_owned(), ..Page::default() }.html().unwrap();
    assert!(html.starts_with("<!DOCTYPE html>\n"));
    assert!(html.ends_with("</html>\n"));
    for part in ["Overview", "Parameters", "Where this is from", "<td", "<figure>"] {
        assert!(!without_own(&html).contains(part), "{part}");
    }
}

#[test]
fn without_errors_there_is_no_overview() {
    let mut page = page();
    page.sections.iter_mut().for_each(|section| section.error = None);
    assert!(!page.html().unwrap().contains("id=\"overview\""));
}

#[test]
fn what_cannot_be_on_a_page_is_named() {
    let about = |change: &dyn Fn(&mut Page)| {
        let mut page = page();
        change(&mut page);
        match page.html() {
            Err(PlotError::Page { place, what }) => format!("{place}: {what}"),
            other => panic!("{other:?}"),
        }
    };
    let section = |change: &'static dyn Fn(&mut Section)| {
        about(&move |page: &mut Page| change(&mut page.sections[1]))
    };
    let twice = section(&|section| section.id = "eight".to_owned());
    assert!(twice.ends_with("another section has the name `eight`, too"), "{twice}");
    let place = "section 1 (`The model and what was published`): ";
    for name in ["", "a b", "\"", "ä"] {
        let named = about(&|page| page.sections[1].id = name.to_owned());
        assert!(named.starts_with(&format!("{place}its name is `{name}`; use ")), "{named}");
    }
    assert_eq!(section(&|section| section.error = Some(-0.1)), format!("{place}its error is -0.1"));
    assert_eq!(
        section(&|section| section.error = Some(f64::NAN)),
        format!("{place}its error is NaN")
    );
    for svg in ["", "text", "<svg >"] {
        let other = about(&|page| page.sections[1].svg = Some(svg.to_owned()));
        assert_eq!(other, format!("{place}its figure is not an SVG element"));
    }
    let named = section(&|section| {
        section.svg = Some("<svg ><clipPath id=\"a\"></clipPath></svg>".to_owned());
    });
    assert!(named.contains("names an element (`id`)"), "{named}");
    let row = "parameters, table `Odd ones`, row 2: ";
    let short = about(&|page| drop(page.parameters[0].rows[2].pop()));
    assert_eq!(short, format!("{row}2 cells for 3 columns"));
    let infinite = about(&|page| page.parameters[0].rows[2][1] = Cell::Number(f64::INFINITY));
    assert_eq!(infinite, format!("{row}time is inf"));
}
