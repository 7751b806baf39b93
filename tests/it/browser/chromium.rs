//! A headless Chromium, driven over its debugging pipe: JSON messages, each ended by a zero byte, on
//! file descriptors 3 and 4. No port is opened, nothing is written into the page, and the browser
//! itself tells what went wrong: failed loads, broken rules of the page's policy, exceptions.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for one answer; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The browser that `$CHROME` names, or the first that is installed; `None` without one.
pub(super) fn installed() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROME").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// A running browser with one tab. It ends when this is dropped.
pub(super) struct Chromium {
    process: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// What the browser said about the page since it was last opened.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Chromium {
    pub(super) fn start(program: &Path) -> Self {
        let profile = TempDir::new().expect("a temporary folder");
        // The shell only moves its own pipes to where the browser looks for them.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
                "--disable-component-update",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let to = process.stdin.take();
        let mut replies = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let (sender, from) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while replies.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                let text = message.strip_suffix(&[0]).unwrap_or(&message);
                let Ok(value) = serde_json::from_slice(text) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            process,
            to,
            from,
            session: None,
            sent: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sends a command and waits for its result.
    pub(super) fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sends a command and waits for its result, or for the error that the browser returns.
    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let to = self.to.as_mut().expect("the pipe is open while the browser lives");
        to.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        let sent = self.sent;
        let reply = self.wait(method, |message| message["id"] == sent);
        if reply["error"].is_null() {
            Ok(reply["result"].clone())
        } else {
            Err(reply["error"].clone())
        }
    }

    /// The first message for which `wanted` holds; all others are kept as events.
    fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self
                .from
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("the browser does not answer {what}: {error}"));
            if wanted(&message) {
                return message;
            }
            self.events.push(message);
        }
    }

    /// Opens a file in a window of `width` CSS pixels, in the `light` or `dark` scheme.
    pub(super) fn open(&mut self, page: &Path, scheme: &str, width: u32) {
        self.open_url(&format!("file://{}", page.display()), scheme, width);
    }

    /// The same for an address.
    pub(super) fn open_url(&mut self, url: &str, scheme: &str, width: u32) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": feature}));
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.events.clear();
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        let is_loaded = |message: &Value| message["method"] == "Page.loadEventFired";
        if !self.events.iter().any(is_loaded) {
            let loaded = self.wait("Page.navigate", is_loaded);
            self.events.push(loaded);
        }
    }

    /// The value of a JavaScript expression, which the debugger and not the page evaluates.
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// As [`Self::evaluate`]; an error where there is no page to evaluate it in.
    fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({"expression": expression, "returnByValue": true});
        let reply = self.try_call("Runtime.evaluate", params)?;
        assert!(reply["exceptionDetails"].is_null(), "{expression}: {reply}");
        Ok(reply["result"]["value"].clone())
    }

    /// Presses and releases a key in the page.
    pub(super) fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            // Without its character, this key does nothing to what has the focus.
            if key == "Enter" && kind == "keyDown" {
                event["text"] = "\r".into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Waits until a JavaScript expression is true. In the middle of a change of page, none is.
    pub(super) fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.try_evaluate(expression) != Ok(Value::Bool(true)) {
            assert!(Instant::now() < end, "never true: {expression}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Types `text` where the cursor is.
    pub(super) fn insert(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// The addresses that were requested since the page was opened.
    pub(super) fn requested(&mut self) -> Vec<String> {
        self.evaluate("document.readyState");
        let sent = self.events.iter().filter(|it| it["method"] == "Network.requestWillBeSent");
        sent.map(|it| it["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What a console would show in red or yellow, and every request beyond the page itself.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        let mut complaints = self.errors();
        let is_request = |message: &&Value| {
            message["method"] == "Network.requestWillBeSent"
                && message["params"]["type"] != "Document"
        };
        complaints.extend(self.events.iter().filter(is_request).map(ToString::to_string));
        complaints
    }

    /// What a console would show in red or yellow.
    pub(super) fn errors(&mut self) -> Vec<String> {
        // An answer to a late command comes after all that was said before it.
        self.evaluate("document.readyState");
        let is_error = |message: &&Value| match message["method"].as_str().unwrap_or_default() {
            "Log.entryAdded" => {
                let entry = &message["params"]["entry"];
                // Chromium asks for an icon that no page has, at a time of its own.
                let is_icon =
                    entry["url"].as_str().is_some_and(|url| url.ends_with("/favicon.ico"));
                entry["level"] != "verbose" && !is_icon
            }
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => true,
            "Network.loadingFailed" => true,
            _ => false,
        };
        self.events.iter().filter(is_error).map(ToString::to_string).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its pipe closed, a browser ends by itself; its group is ended in case it does not.
        self.to.take();
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
