//! What Prometheus reads, and what the dashboard asks it for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use qpmux_engine::{Counters, DropReason, Nanos};
use qpmux_sim::memory::Memory;
use serde_json::Value;

use super::config::with;
use super::translated::Bench;
use super::{MemoryHost, host};
use crate::config::{Settings, StopRule};
use crate::control::crew::Crew;
use crate::control::desk::Desk;
use crate::control::mail::{Bell, post};
use crate::metrics::{MetricsServer, text};
use crate::operations::Operations;
use crate::report::Report;

const DASHBOARD: &str = include_str!("../../grafana/qpmux-live.json");

/// A metric: its type, and its values by their labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    values: BTreeMap<String, f64>,
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Reads Prometheus' text format, strictly: each metric once, with head, and values that differ.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped = "";
    let mut current = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && is_name(name), "{line}");
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert!(found.insert(name.to_owned(), family).is_none(), "{name} twice");
            current = name;
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert_eq!(name, current);
            let labels = labels.strip_suffix('}').unwrap();
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (label, word) = label.split_once('=').unwrap();
                let word = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap();
                let number = label == "worker" && word.parse::<u8>().is_ok();
                assert!(is_name(label) && (is_name(word) || number), "{line}");
            }
            let values = &mut found.get_mut(name).unwrap().values;
            let before = values.insert(labels.to_owned(), value.parse().unwrap());
            assert!(before.is_none(), "{series} twice");
        }
    }
    found
}

fn of(host: &mut MemoryHost) -> BTreeMap<String, Family> {
    parse(&text(&Report::of(host, Nanos(3_000_000_000))))
}

#[test]
fn every_counter_is_a_metric_from_the_start() {
    let (mut quiet, ..) = host(with("").unwrap().engine().unwrap(), 256);
    let metrics = of(&mut quiet);
    for (name, _) in Counters::default().totals() {
        assert_eq!(metrics[&format!("qpmux_{name}_total")].values[""], 0.0, "{name}");
    }
    let drops = &metrics["qpmux_drops_total"].values;
    assert_eq!(drops.len(), DropReason::ALL.len());
    assert_eq!(metrics["qpmux_running_seconds"].values[""], 3.0);
    assert_eq!(metrics["qpmux_running_seconds"].kind, "gauge");
    assert_eq!(metrics["qpmux_connections"].values.len(), 4);
    assert_eq!(metrics["qpmux_port_lost_total"].values.len(), 24);
    assert!(metrics.values().all(|family| !family.values.is_empty()));
}

#[test]
fn metrics_have_the_numbers_of_the_report() {
    let settings = with(
        "[policy]\nmap = 'writes'\ntrust = 'observed'\n[network]\npath_mtu = 1024\ndepth = 16\n",
    );
    let mut bench = Bench::new(settings.unwrap().engine().unwrap(), Memory::new());
    (1..=40).for_each(|number| bench.update(number));
    let metrics = of(&mut bench.host);
    let report = Report::of(&mut bench.host, Nanos(0));
    let value = |name: &str, labels: &str| metrics[name].values[labels] as u64;
    assert_eq!(value("qpmux_requests_total", ""), report.totals["requests"]);
    assert_eq!(value("qpmux_generated_total", "kind=\"ack\""), report.generated["ack"]);
    assert_eq!(value("qpmux_connections", "state=\"translated\""), 4);
    let received = report.ports.client.counters.received;
    assert_eq!(value("qpmux_port_received_total", "side=\"client\""), received);
    assert!(received > 0 && report.totals["requests"] > 0);
}

/// Metrics that an expression names, with the labels that it uses.
fn named(expression: &str) -> Vec<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = expression.split(word).filter(|word| word.starts_with("qpmux_"));
    words.map(str::to_owned).collect()
}

/// Expressions below here, each with the legend of what it draws; a variable's has none.
fn expressions(document: &Value, found: &mut Vec<(String, String)>) {
    let each = match document {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let asks = text("expr").or_else(|| text("query").filter(|_| !is_source(fields)));
            let legend = text("legendFormat").unwrap_or_default();
            found.extend(asks.map(|asks| (asks.to_owned(), legend.to_owned())));
            fields.values().collect()
        }
        Value::Array(all) => all.iter().collect(),
        _ => Vec::new(),
    };
    each.into_iter().for_each(|each| expressions(each, found));
}

/// Whether a variable stands for where the metrics are, which it names by a kind.
fn is_source(fields: &serde_json::Map<String, Value>) -> bool {
    fields.get("type").is_some_and(|kind| kind == "datasource")
}

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, begin: &str, end: char) -> Vec<&'a str> {
    text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn the_dashboard_names_metrics_and_labels_that_exist() {
    let (mut quiet, ..) = host(with("").unwrap().engine().unwrap(), 256);
    let metrics = of(&mut quiet);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    assert!(all.len() > 10);
    for (expression, legend) in &all {
        let names = named(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in &names {
            assert!(metrics.contains_key(name), "{name} in {expression}");
        }
        // What is summed by a label must have it. What is shown by one must be summed by it.
        let summed = between(expression, "by (", ')');
        for label in &summed {
            let has = |labels: &String| labels.contains(&format!("{label}=\""));
            for name in &names {
                let labels = &metrics[name].values;
                assert!(*label == "instance" || labels.keys().all(has), "{label} in {expression}");
            }
        }
        for label in between(legend, "{{", '}') {
            assert!(summed.contains(&label), "{legend} of {expression}");
        }
    }
    assert!(all.iter().any(|(expression, _)| expression.starts_with("label_values(")));
    let shown: BTreeSet<String> = all.iter().flat_map(|(each, _)| named(each)).collect();
    for must in ["qpmux_broken_total", "qpmux_connections", "qpmux_port_lost_total"] {
        assert!(shown.contains(must), "{must}");
    }
}

/// What is answered to a request, while a loop turns.
fn fetched(address: SocketAddr, request: &str, desk: &mut Desk) -> String {
    let request = format!("{request}\r\nHost: here\r\nConnection: close\r\n\r\n");
    let asks = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let (mut host, ..) = host(with("").unwrap().engine().unwrap(), 256);
    while !asks.is_finished() {
        let _ = desk.attend(&mut host, Nanos(1));
        thread::yield_now();
    }
    asks.join().unwrap()
}

#[test]
fn prometheus_is_answered() {
    let (post, mailbox) = post(Bell::new().unwrap());
    let crew = Crew::new(vec![post], StopRule::Ask);
    let server = MetricsServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), crew).unwrap();
    let address = server.address().unwrap();
    let mut desk = Desk::new(mailbox);
    let answer = fetched(address, "GET /metrics HTTP/1.1", &mut desk);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(parse(body).len() > 40);
    let answer = fetched(address, "POST /metrics HTTP/1.1", &mut desk);
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let answer = fetched(address, "GET / HTTP/1.1", &mut desk);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    drop(desk);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("503") && answer.contains("has stopped"), "{answer}");
    drop(server);
    let until = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "it listens still");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_address_that_is_taken_stops_only_who_has_named_it() {
    let nobody = Crew::new(vec![], StopRule::Ask);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings: Settings =
        with(&format!("[metrics]\nlisten = '{}'\n", taken.local_addr().unwrap())).unwrap();
    let error = Operations::start(&settings, &nobody).err().unwrap();
    assert!(format!("{error:#}").starts_with("metrics.listen: 127.0.0.1:"), "{error:#}");
    // The default address is free, or it is not: either is good.
    assert!(Operations::start(&with("").unwrap(), &nobody).is_ok());
}
