//! A virtual week of arrivals, expiries, deletions, failing engines and random panics ends with nothing left over.

use std::time::Duration;

use getaredis_actors::{
    domain::EndReason,
    scheduler::messages::{CreateInstance, DeleteInstance},
    settings::{HostSettings, ReaperSettings, Settings},
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
    },
    supervision::ask,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::host;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const HOSTS: [&str; 3] = ["a", "b", "c"];
const PANICS: [&str; 9] = [
    "store.admit",
    "store.apply",
    "store.due",
    "store.live",
    "runtime.start:a",
    "runtime.remove:b",
    "runtime.probe:c",
    "runtime.inventory:a",
    "directory.read",
];

const WHO_MAY_PANIC: [&str; 7] = ["scheduler", "reaper", "discovery", "feed", "host:a", "host:b", "host:c"];

/// The defaults, but with everything that is done periodically done less often: a week is long.
fn leisurely() -> Settings {
    let minute = Duration::from_secs(60);
    let usual = settings();
    Settings {
        reaper: ReaperSettings { poll: minute, sweep: 10 * minute, ..usual.reaper },
        host: HostSettings { probe_every: minute, ..usual.host },
        directory_poll: minute,
        watch_every: 10 * minute,
        ..usual
    }
}

#[actix::test]
async fn a_virtual_week_of_arrivals_expiries_and_panics_ends_with_nothing_left_over() {
    tokio::time::pause();
    let mut rng = StdRng::seed_from_u64(2015);
    let mut world = World::running(leisurely(), &HOSTS.map(|name| (name, 10))).await;
    world.expect_restarts(&WHO_MAY_PANIC);
    let end = tokio::time::Instant::now() + WEEK;
    let (mut served, mut refused) = (0, 0);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(rng.random_range(1..1200))).await;
        match rng.random_range(0..20) {
            0 => world.faults.panic_next(PANICS[rng.random_range(0..PANICS.len())]),
            1 => world.runtimes.reboot(&host(HOSTS[rng.random_range(0..3)])),
            2 => {
                let away = host(HOSTS[rng.random_range(0..3)]);
                world.runtimes.reach(&away, Reach::Refusing);
                tokio::time::sleep(Duration::from_secs(rng.random_range(1..600))).await;
                world.runtimes.reach(&away, Reach::Well);
            }
            3 | 4 => {
                let rows = world.live_rows();
                if !rows.is_empty() {
                    let id = rows[rng.random_range(0..rows.len())].id.clone();
                    let delete = DeleteInstance { id, reason: EndReason::Deleted };
                    // Whether it is answered is up to the panics.
                    let _ = ask(&world.doors().delete, delete, Duration::from_secs(60)).await;
                }
            }
            5 => {
                world.crash().await;
                world.start().await;
            }
            _ => {
                let ttl = Some(Duration::from_secs(rng.random_range(60..24 * 3600)));
                match world.create(CreateInstance { ttl, ..request(creator(rng.random())) }).await {
                    Ok(Ok(_)) => served += 1,
                    _ => refused += 1,
                }
            }
        }
    }
    assert!(served > 300 && refused < served, "{served} served, {refused} refused");
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    world.eventually("every lease has ended", async |world| world.live_rows().is_empty()).await;
    assert_eq!(world.runtimes.leftovers(), []);
    world.finish().await;
}

/// Servers on one database look at each other every few seconds, so that some hours of theirs are as much as a week.
const SIX_HOURS: Duration = Duration::from_secs(6 * 3600);

/// What happens beside creates while two servers live, each thing about as often.
async fn mischief(world: &mut World, rng: &mut StdRng) {
    let any = host(HOSTS[rng.random_range(0..HOSTS.len())]);
    match rng.random_range(0..6) {
        0 => world.faults.panic_next(PANICS[rng.random_range(0..PANICS.len())]),
        1 => world.runtimes.reboot(&any),
        2 => {
            // For a while, or for so long that what it carries is given up.
            world.runtimes.reach(&any, Reach::Refusing);
            tokio::time::sleep(Duration::from_secs(rng.random_range(1..5000))).await;
            world.runtimes.reach(&any, Reach::Well);
        }
        3 => {
            world.crash().await;
            tokio::time::sleep(Duration::from_secs(rng.random_range(0..60))).await;
            world.start().await;
        }
        4 => {
            world.crash_neighbour().await;
            tokio::time::sleep(Duration::from_secs(rng.random_range(0..60))).await;
            world.start_neighbour().await;
        }
        _ => {
            let rows = world.live_rows();
            if let Some(row) = rows.get(rng.random_range(0..rows.len().max(1))) {
                let delete = DeleteInstance { id: row.id.clone(), reason: EndReason::Deleted };
                // Whether it is answered is up to the panics.
                let _ = ask(&world.neighbour().delete, delete, Duration::from_secs(60)).await;
            }
        }
    }
}

#[actix::test]
async fn six_virtual_hours_of_two_servers_and_hosts_that_fall_silent_ends_with_nothing_left_over() {
    tokio::time::pause();
    let mut rng = StdRng::seed_from_u64(2026);
    let mut world = World::with_neighbour(leisurely(), &HOSTS.map(|name| (name, 10))).await;
    world.expect_restarts(&WHO_MAY_PANIC);
    let end = tokio::time::Instant::now() + SIX_HOURS;
    let (mut served, mut refused) = (0, 0);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(rng.random_range(1..240))).await;
        if rng.random_range(0..6) == 0 {
            mischief(&mut world, &mut rng).await;
            continue;
        }
        let ttl = Some(Duration::from_secs(rng.random_range(60..3600)));
        let request = CreateInstance { ttl, ..request(creator(rng.random())) };
        let answer = if rng.random() { world.create(request).await } else { world.create_at_neighbour(request).await };
        match answer {
            Ok(Ok(_)) => served += 1,
            _ => refused += 1,
        }
    }
    assert!(served > 60 && refused < served, "{served} served, {refused} refused");
    tokio::time::sleep(2 * Duration::from_secs(3600)).await;
    world.eventually("every lease has ended", async |world| world.live_rows().is_empty()).await;
    world.eventually("nothing is left", async |world| world.runtimes.leftovers().is_empty()).await;
    world.finish().await;
}
