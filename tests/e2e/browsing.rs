//! The page in a real browser.

use std::process::Command;

use fantoccini::key::Key;
use serde_json::json;

use crate::support::{
    SOON,
    browser::{Browser, Heard},
    eventually, looks, same,
    server::Server,
    tenant::{must_work_at, ping},
};

/// Seconds of a countdown such as `11:59:58` or `0:42`.
fn seconds(text: &str) -> Option<u64> {
    text.split(':').try_fold(0, |all, part| Some(all * 60 + part.parse::<u64>().ok()?))
}

/// Waits for the Redis that was asked for.
async fn connection_string(browser: &Browser) -> String {
    browser
        .reads("#redis-url", "a connection string", |text| text.starts_with("redis://").then(|| text.to_owned()))
        .await
}

/// What a line says that a person pastes into a shell.
async fn said_by_shell(line: String) -> String {
    let shell = move || Command::new("sh").args(["-c", &line]).output().unwrap();
    String::from_utf8(tokio::task::spawn_blocking(shell).await.unwrap().stdout).unwrap()
}

/// Fails unless everything that is there to be seen fits the screen and can be read, by day and by night.
async fn must_look_right(browser: &Browser, what: &str) {
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        let ground = "arguments[0](getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128)";
        assert_eq!(browser.run(ground).await, scheme == "dark", "{what} is not {scheme}");
        assert_eq!(browser.run(looks::MISFITS).await, json!([]), "{what}, {scheme}");
        assert_eq!(browser.run(looks::PALE).await, json!([]), "{what}, {scheme}");
    }
}

#[tokio::test]
async fn one_click_gives_a_redis_that_works_can_be_extended_and_deleted() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.click("#get").await;
    let url = connection_string(&browser).await;
    must_work_at(&url).await;
    let [container] = server.containers().await.try_into().unwrap();
    let line = browser.text("#snippets li:first-child code").await.unwrap();
    assert!(line.starts_with("redis-cli "), "{line}");
    assert_eq!(said_by_shell(format!("{line} PING")).await, "PONG\n");
    assert_eq!(browser.address().await, format!("{}/i/{}", server.url(), container.instance));
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());

    let before = browser.reads("#countdown", "a countdown", seconds).await;
    assert!((11 * 3600..=12 * 3600).contains(&before), "{before}");
    let later =
        browser.reads("#countdown", "a countdown that runs", |text| seconds(text).filter(|now| *now < before)).await;
    browser.click("#extend").await;
    browser.reads("#countdown", "more time", |text| seconds(text).filter(|now| *now > later + 3600)).await;

    // The page shows the same after it was left and opened again.
    browser.goto(&format!("{}/i/{}", server.url(), container.instance)).await;
    browser.reads("#redis-url", "the same connection string", |text| (text == url).then_some(())).await;

    browser.click("#delete").await;
    browser.sees("#delete-question").await;
    ping(&url).await.unwrap();
    browser.click("#confirm-delete").await;
    browser.reads("#start-title", "that it is deleted", |text| (text == "Deleted").then_some(())).await;
    assert!(ping(&url).await.is_err());
    same(server.containers().await, Vec::new()).unwrap();
    browser.reads("#total", "how many were started", |text| (text == "1").then_some(())).await;
}

#[tokio::test]
async fn on_a_phone_the_keyboard_alone_does_everything_by_day_and_by_night() {
    let (server, browser) = (Server::start(&[]).await, Browser::open().await);
    let (enter, space) = (Key::Enter.into(), ' ');
    browser.narrow_to(360).await;
    browser.goto(&server.url()).await;
    browser.reads("#start-limits", "the page is complete", |text| text.contains("MB").then_some(())).await;
    must_look_right(&browser, "the start").await;
    browser.tab_to("#get").await;
    browser.press(&[enter]).await;
    let url = connection_string(&browser).await;
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());
    ping(&url).await.unwrap();

    browser.tab_to("#reveal").await;
    browser.press(&[enter]).await;
    browser.tab_to("#copy-url").await;
    browser.press(&[space]).await;
    browser.reads("#announce", "the copy", |text| (text == "Copied connection string.").then_some(())).await;
    browser.tab_to("#extend").await;
    browser.press(&[enter]).await;
    browser.reads("#lease-status", "more time", |text| text.starts_with("Extended.").then_some(())).await;
    browser.tab_to("summary").await;
    browser.press(&[space]).await;
    browser.sees("#manage-lines").await;
    browser.tab_to("#delete").await;
    browser.press(&[enter]).await;
    browser.sees("#delete-question").await;
    must_look_right(&browser, "the result with all that opens").await;
    browser.tab_to("#confirm-delete").await;
    browser.press(&[space]).await;
    browser.reads("#start-title", "that it is deleted", |text| (text == "Deleted").then_some(())).await;
    must_look_right(&browser, "the end").await;
    same(server.containers().await, Vec::new()).unwrap();
}

/// All of it happens in the turn of the click, so that it is there before any answer can be.
#[tokio::test]
async fn while_it_works_the_page_says_so_and_the_button_does_nothing_more() {
    let (server, browser) = (Server::start(&[]).await, Browser::open().await);
    browser.goto(&server.url()).await;
    let script = "const at = (id) => document.getElementById(id);
        const look = () => [at('get').ariaDisabled, at('duration').disabled, at('get-label').textContent, at('progress').textContent];
        const before = look();
        at('get').click();
        const during = look();
        at('get').click();
        arguments[0]([before, during, look()]);";
    let during = json!(["true", true, "Starting", "Starting your Redis…"]);
    assert_eq!(browser.run(script).await, json!([[null, false, "Get a Redis", ""], during, during]));
    connection_string(&browser).await;
    assert_eq!(browser.text("#progress").await.unwrap(), "", "it is over");
    assert_eq!(server.containers().await.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_in_words_with_the_way_out() {
    let server = Server::start(&[("limits.per_creator", "1")]).await;
    server.api().create().await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.click("#get").await;
    browser.sees("#error").await;
    let words = browser.text("#error").await.unwrap();
    assert!(words.contains("You already have 1 running") && words.contains("Delete one"), "{words}");
    assert!(words.contains("You can try again in"), "{words}");
    assert_eq!(server.containers().await.len(), 1);
}

#[tokio::test]
async fn the_page_of_a_server_without_containers_warns() {
    let server = Server::start(&[("fleet.runtime", "process")]).await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.sees("#isolation-warning").await;
    browser.click("#get").await;
    browser.sees("#redis-url").await;
    assert!(browser.sees("#isolation-warning").await.text().await.unwrap().contains("not isolated"));
}

/// The one thing of this role and name.
fn one<'a>(heard: &'a [Heard], role: &str, name: &str) -> &'a Heard {
    let found: Vec<_> = heard.iter().filter(|one| one.role == role && one.name == name).collect();
    assert_eq!(found.len(), 1, "{role} {name:?} in {heard:#?}");
    found[0]
}

/// What live regions there are, and how urgent each is.
fn live(heard: &[Heard]) -> Vec<&str> {
    let mut all: Vec<_> = heard.iter().filter_map(|one| one.properties.get("live")?.as_str()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_screen_reader_finds_everything_by_role_and_name_and_hears_what_changes() {
    let server = Server::start(&[("limits.per_creator", "1")]).await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.reads("#start-limits", "the page is complete", |text| text.contains("MB").then_some(())).await;
    let heard = browser.heard().await;
    one(&heard, "RootWebArea", "getaredis: a Redis in one click");
    one(&heard, "heading", "Borrow a Redis");
    one(&heard, "region", "Borrow a Redis");
    one(&heard, "button", "Get a Redis");
    one(&heard, "combobox", "Keep it for");
    one(&heard, "button", "Copy the curl line");
    for landmark in ["banner", "main", "contentinfo"] {
        assert_eq!(heard.iter().filter(|one| one.role == landmark).count(), 1, "{landmark}");
    }
    // Progress, announcements and alarms; nothing else speaks by itself.
    assert_eq!(live(&heard), ["assertive", "polite", "polite"]);

    browser.click("#get").await;
    browser.sees("#redis-url").await;
    let heard = browser.heard().await;
    let title = one(&heard, "heading", "Your Redis is ready");
    assert_eq!(title.properties.get("focused"), Some(&true.into()), "the result is where the reader goes on");
    for (role, name) in [
        ("region", "Connection string"),
        ("button", "Copy connection string"),
        ("button", "Copy host"),
        ("button", "Copy port"),
        ("button", "Copy username"),
        ("button", "Copy password"),
        ("region", "Time left"),
    ] {
        one(&heard, role, name);
    }
    let hidden = one(&heard, "button", "Show password");
    assert_eq!(hidden.properties.get("pressed"), Some(&"false".into()));
    assert_eq!(one(&heard, "button", "Delete").properties.get("expanded"), Some(&false.into()));
    assert!(one(&heard, "button", "Add 12 hours").description.starts_with("It can be extended until"));
    // The countdown is there for who looks for it, and never speaks by itself.
    let timer = heard.iter().find(|one| one.role == "timer").unwrap();
    assert!(timer.name.starts_with("Time left"), "{timer:?}");
    assert_eq!(timer.properties.get("live").and_then(|live| live.as_str()).unwrap_or("off"), "off");

    browser.click("#copy-url").await;
    browser.reads("#announce", "the copy", |text| (text == "Copied connection string.").then_some(())).await;
    assert_eq!(browser.text("#copy-url").await.unwrap(), "Copied");
    let field = "const field = document.createElement('textarea');
        document.body.append(field);
        field.focus();
        arguments[0]();";
    browser.run(field).await;
    browser.press(&[Key::Control.into(), 'v']).await;
    let url = browser.text("#redis-url").await.unwrap();
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());
    eventually("the connection string is pasted", SOON, async || {
        same(browser.run("arguments[0](document.activeElement.value)").await, json!(url))
    })
    .await;
    ping(&url).await.unwrap();

    // What went wrong is said in one piece, and the box that shows it is not said a second time.
    browser.click("#another").await;
    browser.click("#get").await;
    browser.sees("#error").await;
    let said = browser.reads("#alarm", "what went wrong", |text| (!text.is_empty()).then(|| text.to_owned())).await;
    assert!(said.starts_with("You already have 1 running. Delete one") && said.contains("try again in"), "{said}");
    let heard = browser.heard().await;
    assert!(heard.iter().all(|one| one.role != "alert"), "{heard:#?}");
    one(&heard, "heading", "You already have 1 running");
    assert_eq!(live(&heard), ["assertive", "polite", "polite"]);
}

/// The list that is chosen from must not be replaced under a reader: it would be taken there.
#[tokio::test]
async fn the_page_leaves_alone_what_has_not_changed_when_it_asks_again() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.reads("#start-limits", "the page is complete", |text| text.contains("MB").then_some(())).await;
    let script = "window.first = document.querySelector('#duration option');
        document.dispatchEvent(new Event('visibilitychange'));
        const done = arguments[0];
        new PerformanceObserver((list, observer) => {
          if (!list.getEntries().some((entry) => entry.name.endsWith('/v1/capacity'))) return;
          observer.disconnect();
          setTimeout(() => done(window.first === document.querySelector('#duration option')), 200);
        }).observe({ type: 'resource' });";
    assert_eq!(browser.run(script).await, true);
}

#[tokio::test]
async fn a_page_that_lost_a_module_loads_itself_again_and_then_works() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.lose(&["*/wording.js"]).await;
    browser.visit(&server.url()).await;
    browser.lose(&[]).await;
    browser.click("#get").await;
    let url =
        browser.reads("#redis-url", "a connection string", |text| Some(text.to_owned()).filter(|t| !t.is_empty()));
    must_work_at(&url.await).await;
    assert!(browser.element("#not-loaded").await.is_err());
}

#[tokio::test]
async fn a_page_that_cannot_be_loaded_whole_says_so_and_offers_to_try_again() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.lose(&["*/wording.js"]).await;
    browser.visit(&server.url()).await;
    let notice = browser.sees("#not-loaded").await;
    assert!(notice.text().await.unwrap().contains("does not work yet"));
    // Whoever loads it again by hand may lose a part again, and it loads by itself then.
    browser.click("#not-loaded a").await;
    browser.lose(&[]).await;
    browser.click("#get").await;
    browser.sees("#redis-url").await;

    // And without the script that watches, after a while.
    browser.lose(&["*/wording.js", "*/loading.js"]).await;
    browser.visit(&server.url()).await;
    browser.sees("#not-loaded").await;
}
