//! The rounds: one fault each.

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use super::*;

/// A round on SQLite with a disk that fails as `faults` says.
fn on_sqlite(name: &'static str, lasts: Duration, faults: Faults) -> Option<Seen> {
    let (site, disk) = FaultyDisk::install(Site::new(), name)?;
    let server = site.start();
    let cast = Cast::on(&server);
    let round = Round {
        server: &server,
        name,
        lasts,
    };
    let during = round.run(&cast, || disk.set(faults), || disk.set(Faults::default()));
    Some(during)
}

#[test]
fn read_errors_heal_and_nothing_that_was_ended_comes_back() {
    let faults = Faults {
        reads: EIO,
        ..Faults::default()
    };
    if let Some(during) = on_sqlite("read errors", LONG, faults) {
        // What SQLite makes of EIO, and of a time-out.
        assert_not_ready(&during, &["malformed", "disk I/O error"]);
    }
}

#[test]
fn a_network_volume_that_times_out_heals_too() {
    let faults = Faults {
        reads: ETIMEDOUT,
        ..Faults::default()
    };
    if let Some(during) = on_sqlite("reads time out", LONG, faults) {
        assert_not_ready(&during, &["disk I/O error"]);
    }
}

#[test]
fn a_blink_of_a_network_volume_leaves_no_reader_in_the_past() {
    let faults = Faults {
        reads: ETIMEDOUT,
        ..Faults::default()
    };
    on_sqlite("read errors, shortly", SHORT, faults);
}

#[test]
fn write_errors_heal_and_tokens_flow_again() {
    let faults = Faults {
        writes: EIO,
        ..Faults::default()
    };
    if let Some(during) = on_sqlite("write errors", LONG, faults) {
        assert_not_ready(&during, &["disk I/O error"]);
    }
}

#[test]
fn sync_errors_heal_and_tokens_flow_again() {
    let faults = Faults {
        syncs: EIO,
        ..Faults::default()
    };
    if let Some(during) = on_sqlite("sync errors", LONG, faults) {
        assert_not_ready(&during, &["disk I/O error"]);
    }
}

#[test]
fn fa_005_a_disk_without_space_heals_and_tokens_flow_again() {
    let faults = Faults {
        writes: ENOSPC,
        ..Faults::default()
    };
    if let Some(during) = on_sqlite("no space (injected)", LONG, faults) {
        assert_not_ready(&during, &["database or disk is full"]);
    }
}

#[test]
fn fa_006_a_file_system_that_turns_read_only_heals_and_tokens_flow_again() {
    let faults = Faults {
        writes: EROFS,
        syncs: EROFS,
        ..Faults::default()
    };
    if let Some(during) = on_sqlite("read-only", LONG, faults) {
        assert_not_ready(&during, &["disk I/O error", "readonly"]);
    }
}

#[test]
fn fa_005_a_full_tmpfs_with_space_again_serves_again() {
    let site = Site::new().with("FIRMAN_DATABASE_URL", "sqlite:disk/firman.db");
    let Some(disk) = SmallDisk::mount(site.path("disk"), "a full tmpfs") else {
        return;
    };
    let server = site.start();
    let cast = Cast::on(&server);
    let round = Round {
        server: &server,
        name: "full tmpfs",
        lasts: LONG,
    };
    let during = round.run(&cast, || disk.fill(), || disk.empty());
    assert_not_ready(&during, &["database or disk is full"]);
    let errors = server.errors_logged("the ledger could not be written; nothing was released");
    assert!(!errors.is_empty());
    for error in errors {
        assert_eq!(error, "cannot use the database: database or disk is full");
    }
}

#[test]
fn a_writer_killed_while_its_disk_fails_loses_nothing_that_was_answered() {
    let Some((site, disk)) = FaultyDisk::install(
        Site::new().with("FIRMAN_ISSUER_URL", ISSUER),
        "a writer killed in the middle",
    ) else {
        return;
    };
    let mut server = site.start();
    let cast = Cast::on(&server);
    for faults in [
        Faults {
            syncs: EIO,
            ..Faults::default()
        },
        Faults {
            writes: ENOSPC,
            ..Faults::default()
        },
    ] {
        let mut tokens: Vec<String> = (0..8).map(|_| cast.caller.token(&server)).collect();
        let last = tokens.pop().unwrap();
        assert_eq!(cast.caller.revoke(&server, &last).unwrap().status, 200);
        disk.set(faults);
        std::thread::scope(|scope| {
            let server = &server;
            for _ in 0..CLIENTS {
                scope.spawn(|| (0..8).for_each(|_| drop(cast.caller.get_token(server))));
            }
        });
        server.kill();
        disk.set(Faults::default());
        server = site.start();
        crash::assert_chain_is_whole(&site);
        for token in &tokens {
            let reply = cast.caller.introspect(&server, token);
            assert_eq!(in_short(&reply), "200 true");
        }
        let reply = cast.caller.introspect(&server, &last);
        assert_eq!(in_short(&reply), "200 false");
        assert_eq!(cast.suspended.get_token(&server).unwrap().status, 401);
        cast.caller.token(&server);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn fa_007_a_lock_of_another_program_is_reported_and_passes() {
    let site = Site::new();
    let server = site.start();
    let cast = Cast::on(&server);
    let runtime = runtime();
    let url = format!("sqlite:{}", site.path("data/firman.db").display());
    let other = runtime.block_on(async {
        let mut other = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("PRAGMA busy_timeout = 5000")
            .execute(&mut other)
            .await
            .unwrap();
        other
    });
    let other = Mutex::new(other);
    let run = |sql: &'static str| {
        let other = &mut *other.lock().unwrap();
        runtime.block_on(async {
            sqlx::raw_sql(sql).execute(other).await.unwrap();
        });
    };
    let round = Round {
        server: &server,
        name: "locked by another program",
        lasts: LONG,
    };
    let during = round.run(&cast, || run("BEGIN EXCLUSIVE"), || run("ROLLBACK"));
    assert_not_ready(&during, &["database is locked", "did not answer"]);
}

#[test]
fn fa_014_terminated_backends_are_replaced_and_nothing_that_was_ended_comes_back() {
    let url = fresh_postgres_database();
    let site = Site::new().with("FIRMAN_DATABASE_URL", &url);
    let server = site.start();
    let cast = Cast::on(&server);
    let round = Round {
        server: &server,
        name: "terminated backends (PostgreSQL)",
        lasts: LONG,
    };
    let (on, ended) = (AtomicBool::new(true), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let begin = || {
            scope.spawn(|| {
                terminate_backends_while(&url, &on);
                ended.store(true, Ordering::SeqCst);
            });
        };
        let end = || {
            on.store(false, Ordering::SeqCst);
            while !ended.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        round.run(&cast, begin, end);
    });
}

/// Ends every connection of the issuer, again and again.
fn terminate_backends_while(url: &str, on: &AtomicBool) {
    runtime().block_on(async {
        let mut admin = PgConnection::connect(url).await.unwrap();
        while on.load(Ordering::SeqCst) {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'firman' AND pid <> pg_backend_pid()",
            )
            .execute(&mut admin)
            .await
            .unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}
