//! The report for people.

use std::fmt::Write as _;

use super::report::{ConnectionReport, InspectReport};

/// How many connections or flows a table shows before it is cut; the JSON has all.
const ROWS_MAX: usize = 100;

/// Sentences about what makes a report less than complete.
pub(super) fn warnings(report: &InspectReport) -> Vec<String> {
    let limits = &report.limits;
    let malformed: u64 = report.malformed.values().sum();
    let keys_overflowed = report.keys.as_ref().is_some_and(|keys| keys.overflowed);
    let silent = report.connections.iter().filter(|c| c.bytes == 0 && c.learnt_by == "configured");
    let counted = [
        (silent.count() as u64, "configured connections carried no packets"),
        (report.icrc_bad, "packets have a bad ICRC and were left out"),
        (malformed, "packets are malformed"),
        (report.truncated_packets, "packets were cut by the capture (snap length) and left out"),
        (report.unpaired.len() as u64, "flows belong to no known connection"),
        (limits.flow_overflow_packets, "packets were of flows beyond the limit"),
        (limits.connections_not_kept, "ended connections were not kept"),
        (limits.candidates_overflow, "answers had too many candidates to be weighed"),
    ];
    let mut warnings: Vec<String> = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if report.truncated_tail {
        warnings.push("the capture breaks off in the middle of its last record".to_owned());
    }
    if keys_overflowed {
        warnings.push("there are more distinct keys than were counted".to_owned());
    }
    warnings
}

impl InspectReport {
    /// The report as text: totals, tables, warnings. Ends with a newline.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        self.write_totals(&mut text);
        write_table(&mut text, &connection_rows(self));
        cut_note(&mut text, self.connections.len(), "connections");
        let agreed = cm_rows(self);
        if !agreed.is_empty() {
            text.push_str("\nAgreed upon through the connection manager\n");
            write_table(&mut text, &agreed);
        }
        if !self.unpaired.is_empty() {
            text.push_str("\nFlows of no known connection\n");
            write_table(&mut text, &unpaired_rows(self));
            cut_note(&mut text, self.unpaired.len(), "flows");
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        for warning in &self.warnings {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    fn write_totals(&self, text: &mut String) {
        let operations = &self.operations;
        let mut lines = vec![
            ("packets", self.packets.to_string()),
            ("RoCEv2 packets", self.roce_packets.to_string()),
            ("duration", format!("{:.6} s", self.duration_ns as f64 / 1e9)),
            ("connections", self.connections.len().to_string()),
            ("operations", operations.total().to_string()),
            ("retransmitted", self.retransmitted.to_string()),
        ];
        if let Some(keys) = &self.keys {
            let bound = if keys.overflowed { "at least " } else { "" };
            let requests = keys.requests;
            let keys = format!("{bound}{} in {requests} writes ({})", keys.distinct, keys.profile);
            lines.push(("distinct keys", keys));
        }
        for (name, value) in lines {
            let _ = writeln!(text, "{name:<15} {value}");
        }
        let messages = self.cm_messages.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        for (title, counts) in [
            ("opcode", &self.opcodes),
            ("connection manager", &messages),
            ("malformed", &self.malformed),
        ] {
            if !counts.is_empty() {
                text.push('\n');
                let mut rows = vec![vec![title.to_owned(), "packets".to_owned()]];
                rows.extend(counts.iter().map(|(name, n)| vec![name.clone(), n.to_string()]));
                write_table(text, &rows);
            }
        }
        if !self.connections.is_empty() {
            text.push('\n');
        }
    }
}

fn connection_rows(report: &InspectReport) -> Vec<Vec<String>> {
    if report.connections.is_empty() {
        return Vec::new();
    }
    let title = "client server learnt-by requests send write read cas faa resent nak rnr mtu bytes";
    let mut rows = vec![title.split(' ').map(str::to_owned).collect()];
    rows.extend(report.connections.iter().take(ROWS_MAX).map(connection_row));
    rows
}

fn connection_row(c: &ConnectionReport) -> Vec<String> {
    let about = if c.path_mtu_certain { "" } else { "~" };
    let mut row = vec![
        format!("{} {:#08x}", c.client_ip, c.client_qpn),
        format!("{} {:#08x}", c.server_ip, c.server_qpn),
        c.learnt_by.to_owned(),
    ];
    let verbs = &c.verbs;
    let counts = [
        c.requests,
        verbs.sends,
        verbs.writes,
        verbs.reads,
        verbs.compare_swaps,
        verbs.fetch_adds,
        c.retransmitted,
        c.naks,
        c.rnr_naks,
    ];
    row.extend(counts.map(|count| count.to_string()));
    row.push(c.path_mtu.map_or_else(|| "-".to_owned(), |mtu| format!("{about}{mtu}")));
    row.push(c.bytes.to_string());
    row
}

fn cm_rows(report: &InspectReport) -> Vec<Vec<String>> {
    let agreed = report.connections.iter().filter_map(|c| Some((c, c.cm.as_ref()?)));
    let mut rows: Vec<Vec<String>> = agreed
        .take(ROWS_MAX)
        .map(|(c, cm)| {
            vec![
                format!("{} {:#08x}", c.client_ip, c.client_qpn),
                format!("{} {:#08x}", c.server_ip, c.server_qpn),
                cm.client_start_psn.to_string(),
                cm.server_start_psn.to_string(),
                cm.path_mtu.to_string(),
                cm.depth.to_string(),
                cm.retry_count.to_string(),
                cm.ack_timeout_ns.map_or_else(|| "-".to_owned(), |ns| (ns / 1000).to_string()),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let title = "client server client-psn server-psn mtu depth retries timeout-us";
        rows.insert(0, title.split(' ').map(str::to_owned).collect());
    }
    rows
}

fn unpaired_rows(report: &InspectReport) -> Vec<Vec<String>> {
    let title = "from to port packets requests responses";
    let mut rows = vec![title.split(' ').map(str::to_owned).collect()];
    rows.extend(report.unpaired.iter().take(ROWS_MAX).map(|flow| {
        vec![
            flow.source_ip.to_string(),
            format!("{} {:#08x}", flow.destination_ip, flow.destination_qpn),
            flow.source_port.to_string(),
            flow.packets.to_string(),
            flow.requests.to_string(),
            flow.responses.to_string(),
        ]
    }));
    rows
}

fn cut_note(text: &mut String, rows: usize, what: &str) {
    if rows > ROWS_MAX {
        let _ = writeln!(text, "... and {} more {what}", rows - ROWS_MAX);
    }
}

/// Writes rows in columns as wide as needed: numbers to the right, the rest to the left.
fn write_table(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let cells = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let widths: Vec<usize> =
        (0..columns).map(|at| cells(at).map(String::len).max().unwrap_or(0)).collect();
    let is_number =
        |cell: &String| cell.trim_start_matches('~').parse::<u64>().is_ok() || cell == "-";
    let right: Vec<bool> = (0..columns).map(|at| cells(at).skip(1).all(is_number)).collect();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), &right) in row.iter().zip(&widths).zip(&right) {
            let _ = match right {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
