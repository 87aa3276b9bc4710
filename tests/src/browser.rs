//! A browser without a window, to see what a page does. It opens files, and nothing else: its
//! names do not resolve, and its proxy is a port where nobody listens.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than any page takes, also on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Milliseconds of a page's own time that are waited for.
const PAGE_TIME_MS: u32 = 5_000;

/// What became of a page.
#[derive(Debug)]
pub struct Shown {
    /// The document in the end, as HTML.
    pub document: String,
    /// What is on the console: errors, warnings, and what the page says itself.
    pub console: Vec<String>,
}

/// Opens a file in Chromium, in a window of this width and height in pixels. `profile` is a folder
/// for what the browser remembers: the same one may be used again, by one browser at a time.
///
/// # Panics
///
/// If Chromium cannot be run, or does not end in time; it is then killed.
pub fn open(page: &Path, profile: &Path, size: (u32, u32), arguments: &[&str]) -> Shown {
    let [document, messages] =
        ["stdout", "stderr"].map(|name| profile.with_extension(format!("browser-{name}")));
    let mut browser = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-extensions", "--disable-domain-reliability", "--no-pings"])
        .args(["--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=<-loopback>"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"])
        .arg(format!("--virtual-time-budget={PAGE_TIME_MS}"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={},{}", size.0, size.1))
        .args(arguments)
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(File::create(&document).expect("a file for the document"))
        .stderr(File::create(&messages).expect("a file for the messages"))
        .spawn()
        .unwrap_or_else(|error| panic!("chromium cannot be run: {error}; install it"));
    let ended = wait(&mut browser);
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (document, messages) = (read(&document), read(&messages));
    assert!(ended, "chromium did not end within {LIMIT:?}: {messages}");
    assert!(document.contains("</html>"), "chromium gave no document: {messages}");
    let console = messages.lines().filter(|line| line.contains(":CONSOLE"));
    Shown { document, console: console.map(str::to_owned).collect() }
}

/// Whether the browser ended by itself; otherwise it is killed, and its parts with it: they end
/// when they lose it.
fn wait(browser: &mut Child) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if browser.try_wait().expect("a child can be waited for").is_some() {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    browser.kill().and_then(|()| browser.wait()).expect("a child can be killed");
    false
}
