//! `firman audit list --follow`: entries as they come, across restarts of the issuer.

use super::*;

fn follow(site: &Site, options: &str) -> Background {
    let mut args = vec!["audit", "list", "--follow"];
    args.extend(options.split_whitespace());
    Background::start(site.command(Path::new(program()), &args))
}

fn role(server: &Server, name: &str) {
    server.create("/roles", &json!({ "name": name }));
}

#[test]
fn new_entries_are_printed_and_a_restart_leaves_none_out() {
    let site = Site::new();
    let server = site.start();
    role(&server, "before");
    let mut following = follow(&site, "");
    following.wait_until("it has begun", |it| it.stdout().starts_with("SEQ "));
    role(&server, "first");
    following.wait_until("the first entry", |it| it.stdout().contains("role:first "));
    server.stop();
    following.wait_until("the loss is told", |it| {
        it.stderr().contains("waiting for it")
    });
    let server = site.start();
    role(&server, "second");
    following.wait_until("the second entry", |it| {
        it.stdout().contains("role:second ")
    });
    following.wait_until("the return is told", |it| {
        it.stderr().contains("firman answers again")
    });
    following.signal(Signal::INT);
    let ended = following.ended();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!ended.stdout.contains("role:before"), "{ended}");
    assert_eq!(ended.stdout.matches("role.created").count(), 2, "{ended}");
    server.stop();
}

#[test]
fn entries_from_before_are_printed_first_when_asked_for_in_table_and_json() {
    let site = Site::new();
    let server = site.start();
    for name in ["one", "two"] {
        role(&server, name);
    }
    for options in [
        "--since 1h --event role.created",
        "--after 0 --event role.created",
    ] {
        let mut following = follow(&site, &format!("{options} --output json"));
        following.wait_until("both entries", |it| it.stdout().lines().count() == 2);
        following.signal(Signal::TERM);
        let ended = following.ended();
        let targets: Vec<Value> = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["target"].clone())
            .collect();
        assert_eq!(targets, ["role:one", "role:two"], "{options}");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    let mut following = follow(&site, "--after 0 --role two");
    following.wait_until("the entry", |it| it.stdout().contains("role:two"));
    following.signal(Signal::INT);
    assert_eq!(following.ended().stdout.lines().count(), 2);
    server.stop();
}
