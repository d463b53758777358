//! A headless Chromium with a profile of its own, driven through chromedriver.
//!
//! Owns both processes and everything that they started: all of it is ended with the value, by process id.

use std::{
    collections::BTreeMap,
    fs::File,
    process::{Child, Command, Stdio},
    str::FromStr,
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    key::Key,
    wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    eventually, given,
    processes::{descendants, signal},
};

/// How often chromedriver is started until it listens: the port that it finds for one kind of address may be taken for the
/// other.
const DRIVERS: usize = 5;

/// More than there is on any page to be reached with the Tab key.
const MOST_TABS: usize = 60;

/// For what a person would wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module's header.
pub struct Browser {
    // Dropped first: it is what keeps the session.
    client: Option<Client>,
    driver: Child,
    home: TempDir,
}

impl Browser {
    pub async fn open() -> Self {
        let mut last = String::new();
        for _ in 0..DRIVERS {
            match Self::drive().await {
                Ok((mut browser, port)) => {
                    browser.client = Some(session(&format!("http://127.0.0.1:{port}"), &browser.home).await);
                    return browser;
                }
                Err(said) => last = said,
            }
        }
        panic!("chromedriver ended each time; it said: {last}")
    }

    /// Starts chromedriver on a port that is free; it says which, or ends because somebody else has just taken it.
    async fn drive() -> Result<(Self, String), String> {
        let home = TempDir::new().unwrap();
        let said = home.path().join("driver.out");
        let driver = Command::new(given("GETAREDIS_TEST_CHROMEDRIVER"))
            .arg("--port=0")
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(File::create(&said).unwrap())
            .stderr(File::create(home.path().join("driver.err")).unwrap())
            .spawn()
            .unwrap();
        let mut browser = Self { client: None, driver, home };
        let port = eventually("chromedriver listens or ends", PATIENCE, async || {
            let ended = browser.driver.try_wait().unwrap().is_some();
            let text = std::fs::read_to_string(&said).unwrap();
            let port = text.split("started successfully on port ").nth(1).and_then(|rest| rest.split_once('.'));
            match port {
                Some((port, _)) => Ok(Ok(port.to_owned())),
                None if ended => Ok(Err(text)),
                None => Err(text),
            }
        })
        .await?;
        Ok((browser, port))
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Opens a page with everything that belongs to it. Chromium drops what it is loading when an interface of the
    /// machine comes or goes, as those of containers do (`ERR_NETWORK_CHANGED`); then a person would load it again.
    pub async fn goto(&self, url: &str) {
        const LOADED: &str = "const done = arguments[0];
            const scripts = [...document.querySelectorAll('script[type=module]')];
            const again = () => document.documentElement.dataset.loading ? 'it is about to load itself again' : '';
            Promise.all(scripts.map((script) => import(script.src))).then(() => done(again()), (e) => done(String(e)))";
        eventually("the page is loaded", PATIENCE, async || {
            self.client().goto(url).await.map_err(|e| e.to_string())?;
            let failure = self.client().execute_async(LOADED, vec![]).await.map_err(|e| e.to_string())?;
            if failure == "" { Ok(()) } else { Err(failure.to_string()) }
        })
        .await;
    }

    /// Opens a page and leaves it as it comes.
    pub async fn visit(&self, url: &str) {
        self.client().goto(url).await.unwrap();
    }

    /// Loses every request for an address that this pattern fits (`*` stands for anything), or none.
    pub async fn lose(&self, patterns: &[&str]) {
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.setBlockedURLs", json!({ "urls": patterns })).await;
    }

    /// The page as a screen reader is given it: everything that is not ignored.
    pub async fn heard(&self) -> Vec<Heard> {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap();
        nodes.iter().filter(|node| node["ignored"] == false).map(Heard::of).collect()
    }

    /// What a script in the page answers through its last argument.
    pub async fn run(&self, script: &str) -> Value {
        self.client().execute_async(script, vec![]).await.unwrap()
    }

    /// Gives the page a screen of this width, in CSS pixels.
    pub async fn narrow_to(&self, width: u32) {
        let screen = json!({ "width": width, "height": 740, "deviceScaleFactor": 2, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// Shows the page to somebody who prefers this colour scheme (`light` or `dark`), without transitions.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Presses keys together, as in Control and V, and lets them go.
    pub async fn press(&self, keys: &[char]) {
        let pressed = keys.iter().map(|key| KeyAction::Down { value: *key });
        let all = pressed.chain(keys.iter().rev().map(|key| KeyAction::Up { value: *key }));
        let actions = all.fold(KeyActions::new("keyboard".to_owned()), InputSource::then);
        self.client().perform_actions(actions).await.unwrap();
    }

    /// Goes on with the Tab key until this element has the focus, and can be seen to have it.
    pub async fn tab_to(&self, selector: &str) {
        self.sees(selector).await;
        let look = format!(
            "const at = document.activeElement;
            const seen = at.matches(':focus-visible') && getComputedStyle(at).outlineStyle !== 'none';
            arguments[0]([at.matches({selector:?}), seen]);"
        );
        for _ in 0..MOST_TABS {
            self.press(&[Key::Tab.into()]).await;
            if self.run(&look).await[0] == true {
                assert_eq!(self.run(&look).await[1], true, "nobody sees that {selector} has the focus");
                return;
            }
        }
        panic!("the Tab key does not lead to {selector}");
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.client().issue_cmd(DevTools { command: command.to_owned(), parameters }).await.unwrap()
    }

    /// Where it is now.
    pub async fn address(&self) -> String {
        self.client().current_url().await.unwrap().to_string()
    }

    /// The one element that a CSS selector finds.
    pub async fn element(&self, selector: &str) -> Result<Element, String> {
        self.client().find(Locator::Css(selector)).await.map_err(|e| format!("{selector}: {e}"))
    }

    /// What an element says, whether it can be seen or not.
    pub async fn text(&self, selector: &str) -> Result<String, String> {
        let text = self.element(selector).await?.prop("textContent").await.map_err(|e| e.to_string())?;
        Ok(text.unwrap_or_default().trim().to_owned())
    }

    /// Waits until an element says what `wanted` finds in it.
    pub async fn reads<T>(&self, selector: &str, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, PATIENCE, async || {
            let text = self.text(selector).await?;
            wanted(&text).ok_or(text)
        })
        .await
    }

    /// Waits until an element can be seen.
    pub async fn sees(&self, selector: &str) -> Element {
        eventually(&format!("{selector} is seen"), PATIENCE, async || {
            let element = self.element(selector).await?;
            match element.is_displayed().await {
                Ok(true) => Ok(element),
                Ok(false) => Err("it is hidden".to_owned()),
                Err(e) => Err(e.to_string()),
            }
        })
        .await
    }

    /// Clicks a button as soon as a person could.
    pub async fn click(&self, selector: &str) {
        eventually(&format!("{selector} is clicked"), PATIENCE, async || {
            let element = self.element(selector).await?;
            if element.attr("disabled").await.map_err(|e| e.to_string())?.is_some() {
                return Err("it is disabled".to_owned());
            }
            if element.attr("aria-disabled").await.map_err(|e| e.to_string())?.as_deref() == Some("true") {
                return Err("it is busy".to_owned());
            }
            element.click().await.map_err(|e| e.to_string())
        })
        .await;
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        self.sees(selector).await.send_keys(text).await.unwrap();
    }
}

/// What a screen reader knows of an element.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub role: String,
    pub name: String,
    /// What stands beside the name, such as the note of a button.
    pub description: String,
    /// States and properties, such as `live` or `expanded`, each as the browser writes it.
    pub properties: BTreeMap<String, Value>,
}

impl Heard {
    fn of(node: &Value) -> Self {
        let text = |of: &Value| of["value"].as_str().unwrap_or_default().to_owned();
        let properties = node["properties"].as_array().into_iter().flatten();
        let property = |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["value"]["value"].clone());
        Self {
            role: text(&node["role"]),
            name: text(&node["name"]),
            description: text(&node["description"]),
            properties: properties.map(property).collect(),
        }
    }
}

/// A command of Chromium's own protocol, by way of chromedriver.
#[derive(Debug)]
struct DevTools {
    command: String,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "cmd": self.command, "params": self.parameters }).to_string()))
    }
}

async fn session(driver: &str, home: &TempDir) -> Client {
    let profile = home.path().join("profile");
    let options = json!({
        "binary": given("GETAREDIS_TEST_CHROMIUM"),
        "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--window-size=1000,1400", format!("--user-data-dir={}", profile.display()),
        ],
    });
    let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
    ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(driver).await.unwrap()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let browser = descendants(self.driver.id());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        for process in browser {
            if process.lives() {
                signal(process.id, "KILL");
            }
        }
        drop(self.client.take());
    }
}
