//! What a host writes into its key: the shape of the first getaredis, and what was added since.
//!
//! Owns the names of the members. The three that make a host must be there and make sense. What only tells how it fares
//! is taken where it makes sense; where it does not, it is left out and named, and the host stays.

use std::{collections::BTreeMap, net::IpAddr};

use getaredis_actors::{
    domain::{DeploymentId, Timestamp},
    ports::{EngineSeen, HostVitals},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest version or name of a program that is taken, in bytes.
const LONGEST_WORD: usize = 64;

/// The most programs of which it is taken how often they were started again.
const MOST_PROGRAMS: usize = 8;

/// The most memory or disk that is taken, in bytes: a pebibyte, which a number in a browser holds exactly.
const MOST_OF_ANYTHING: u64 = 1 << 50;

/// One heartbeat.
pub(super) struct Heartbeat {
    pub(super) public_ip: IpAddr,
    pub(super) private_ip: IpAddr,
    pub(super) name: String,
    /// Whose host it is; nothing in a heartbeat of the first shape.
    pub(super) deployment: Option<DeploymentId>,
    pub(super) slots: Option<u32>,
    pub(super) vitals: HostVitals,
    /// Members that make no sense and were left out.
    pub(super) odd: Vec<&'static str>,
}

/// What makes a host.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "PublicIP")]
    public_ip: IpAddr,
    #[serde(rename = "PrivateIP")]
    private_ip: IpAddr,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Deployment")]
    deployment: Option<DeploymentId>,
    #[serde(rename = "Slots")]
    slots: Option<u32>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Heartbeat {
    pub(super) fn parse(value: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(value).map_err(|e| format!("not a heartbeat: {e}"))?;
        let Written { public_ip, private_ip, name, deployment, slots, rest } = written;
        let (vitals, odd) = vitals(rest);
        Ok(Self { public_ip, private_ip, name, deployment, slots, vitals, odd })
    }

    /// The deployment whose host it is, if it says so and that is not `ours`.
    pub(super) fn stranger(&self, ours: &DeploymentId) -> Option<&DeploymentId> {
        self.deployment.as_ref().filter(|deployment| *deployment != ours)
    }
}

/// The members that tell how a host fares, taken one by one.
struct Members {
    rest: Map<String, Value>,
    odd: Vec<&'static str>,
}

impl Members {
    /// What `read` makes of a member, if that is anything.
    fn take<T>(&mut self, name: &'static str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.rest.get(name).filter(|value| !value.is_null())?;
        let sense = read(value);
        if sense.is_none() {
            self.odd.push(name);
        }
        sense
    }

    /// What is there of a thing, and what of that is left.
    fn share(&mut self, total: &'static str, left: &'static str) -> (Option<u64>, Option<u64>) {
        let whole = self.take(total, |value| Some(value.as_u64()?).filter(|bytes| *bytes <= MOST_OF_ANYTHING));
        let left =
            self.take(left, |value| Some(value.as_u64()?).filter(|bytes| *bytes <= whole.unwrap_or(MOST_OF_ANYTHING)));
        (whole, left)
    }
}

/// How a host fares, and the members that make no sense.
fn vitals(rest: Map<String, Value>) -> (HostVitals, Vec<&'static str>) {
    let mut members = Members { rest, odd: Vec::new() };
    let count = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let load = |value: &Value| value.as_f64().filter(|load| (0.0..1e6).contains(load));
    let (memory_total_bytes, memory_available_bytes) = members.share("MemoryTotal", "MemoryAvailable");
    let (disk_total_bytes, disk_free_bytes) = members.share("DiskTotal", "DiskFree");
    let vitals = HostVitals {
        containers: members.take("NumberOfContainers", count),
        engine: members.take("Engine", engine),
        memory_total_bytes,
        memory_available_bytes,
        disk_total_bytes,
        disk_free_bytes,
        cpus: members.take("Cpus", |value| count(value).filter(|cpus| *cpus > 0)),
        // In range, and hundredths of it are whole.
        load_percent: members.take("Load", load).map(|load| (load * 100.0).round() as u32),
        engine_version: members.take("EngineVersion", version),
        kernel: members.take("Kernel", version),
        setup_version: members.take("SetupVersion", version),
        booted_at: members.take("BootedAt", |value| Timestamp::from_second(value.as_i64()?).ok()),
        restarts: members.take("Restarts", restarts).unwrap_or_default(),
    };
    (vitals, members.odd)
}

fn engine(value: &Value) -> Option<EngineSeen> {
    match value.as_str()? {
        "up" => Some(EngineSeen::Up),
        "silent" => Some(EngineSeen::Silent),
        _ => None,
    }
}

fn restarts(value: &Value) -> Option<BTreeMap<String, u32>> {
    let programs = value.as_object().filter(|programs| programs.len() <= MOST_PROGRAMS)?;
    let count = |(name, times): (&String, &Value)| {
        Some((is_word(name).then(|| name.clone())?, u32::try_from(times.as_u64()?).ok()?))
    };
    programs.iter().map(count).collect()
}

fn version(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    is_word(text).then(|| text.to_owned())
}

fn is_word(text: &str) -> bool {
    (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a","NumberOfContainers":3,
        "Engine":"silent","EngineVersion":"26.1.5","SetupVersion":"0.1.0","Slots":7,"MemoryTotal":1024,
        "MemoryAvailable":512,"Load":0.29,"Cpus":2,"BootedAt":1790000000,"Kernel":"6.1.0-18-amd64","DiskTotal":9,
        "DiskFree":8,"Restarts":{"dockerd":2,"nginx":0},"SomethingNew":{"a":1}}"#;

    fn vitals_of(text: &str) -> HostVitals {
        Heartbeat::parse(text.as_bytes()).unwrap().vitals
    }

    #[test]
    fn everything_that_a_host_tells_is_read() {
        let seen = vitals_of(FULL);
        assert_eq!((seen.containers, seen.engine, seen.cpus), (Some(3), Some(EngineSeen::Silent), Some(2)));
        assert_eq!((seen.memory_total_bytes, seen.memory_available_bytes), (Some(1024), Some(512)));
        assert_eq!((seen.disk_total_bytes, seen.disk_free_bytes), (Some(9), Some(8)));
        assert_eq!(seen.load_percent, Some(29));
        assert_eq!(seen.booted_at.map(Timestamp::as_second), Some(1_790_000_000));
        assert_eq!(seen.engine_version.as_deref(), Some("26.1.5"));
        assert_eq!(seen.restarts, [("dockerd".to_owned(), 2), ("nginx".to_owned(), 0)].into());
        assert_eq!((seen.kernel.as_deref(), seen.setup_version.as_deref()), (Some("6.1.0-18-amd64"), Some("0.1.0")));
    }

    #[test]
    fn what_makes_no_sense_about_its_health_is_left_out_and_the_host_stays() {
        let odd = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a","NumberOfContainers":-1,
            "Engine":"on fire","MemoryTotal":"much","MemoryAvailable":1,"Load":-4,"Cpus":4.5,"BootedAt":99999999999999999,
            "Kernel":"\u001b[2J","EngineVersion":"","Restarts":{"dockerd":-1}}"#;
        let beat = Heartbeat::parse(odd.as_bytes()).unwrap();
        assert_eq!(beat.vitals, HostVitals { memory_available_bytes: Some(1), ..HostVitals::default() });
        let named =
            ["MemoryTotal", "NumberOfContainers", "Engine", "Cpus", "Load", "EngineVersion", "Kernel", "BootedAt"];
        assert_eq!(beat.odd, [&named[..], &["Restarts"]].concat());
        assert_eq!(vitals_of(r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a"}"#), HostVitals::default());
    }

    #[test]
    fn what_was_never_said_is_not_odd() {
        let first = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a","NumberOfContainers":3}"#;
        let beat = Heartbeat::parse(first.as_bytes()).unwrap();
        assert_eq!(beat.vitals, HostVitals { containers: Some(3), ..HostVitals::default() });
        assert!(beat.odd.is_empty() && Heartbeat::parse(FULL.as_bytes()).unwrap().odd.is_empty());
        let null = first.replacen("3}", "3,\"Load\":null}", 1);
        assert!(Heartbeat::parse(null.as_bytes()).unwrap().odd.is_empty());
    }

    #[test]
    fn more_left_than_there_is_makes_no_sense_and_numbers_are_bounded() {
        let with = |members: &str| {
            let text = format!(r#"{{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a",{members}}}"#);
            let beat = Heartbeat::parse(text.as_bytes()).unwrap();
            (beat.vitals, beat.odd)
        };
        let (vitals, odd) = with(r#""MemoryTotal":10,"MemoryAvailable":11,"DiskTotal":10,"DiskFree":10"#);
        assert_eq!((vitals.memory_total_bytes, vitals.memory_available_bytes), (Some(10), None));
        assert_eq!((vitals.disk_free_bytes, odd), (Some(10), vec!["MemoryAvailable"]));
        let (vitals, odd) = with(r#""DiskTotal":18446744073709551615,"Cpus":0,"Load":1e99"#);
        assert_eq!((vitals, odd), (HostVitals::default(), vec!["DiskTotal", "Cpus", "Load"]));
    }

    #[test]
    fn what_makes_a_host_must_be_there() {
        for member in ["PublicIP", "PrivateIP", "Name"] {
            assert!(Heartbeat::parse(FULL.replacen(member, "Other", 1).as_bytes()).is_err(), "{member}");
        }
    }

    #[test]
    fn whose_host_it_is_is_nobody_or_a_deployment_and_nothing_else() {
        let of = |deployment: &str| {
            let member = format!(r#""Deployment":{deployment},"Name""#);
            Heartbeat::parse(FULL.replacen(r#""Name""#, &member, 1).as_bytes())
        };
        let ours = DeploymentId::parse("ours").unwrap();
        for (deployment, stranger) in [("null", None), (r#""ours""#, None), (r#""theirs""#, Some("theirs"))] {
            assert_eq!(of(deployment).unwrap().stranger(&ours).map(DeploymentId::as_str), stranger);
        }
        assert!(Heartbeat::parse(FULL.as_bytes()).unwrap().stranger(&ours).is_none());
        for bad in ["\"a b\"", "\"\"", "7"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
