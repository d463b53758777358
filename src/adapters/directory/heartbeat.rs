//! What a host writes into its key: the shape of the first getaredis, and what was added since.
//!
//! Owns the names of the members. The three that make a host must be there and make sense; what only tells how it fares
//! is taken where it makes sense and left out where it does not, for a newer or older host may write it otherwise.

use std::net::IpAddr;

use getaredis_actors::{
    domain::Timestamp,
    ports::{EngineSeen, HostVitals},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest version that is taken, in bytes.
const LONGEST_VERSION: usize = 64;

/// One heartbeat.
pub(super) struct Heartbeat {
    pub(super) public_ip: IpAddr,
    pub(super) private_ip: IpAddr,
    pub(super) name: String,
    pub(super) slots: Option<u32>,
    pub(super) vitals: HostVitals,
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
    #[serde(rename = "Slots")]
    slots: Option<u32>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Heartbeat {
    pub(super) fn parse(value: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(value).map_err(|e| format!("not a heartbeat: {e}"))?;
        let Written { public_ip, private_ip, name, slots, rest } = written;
        Ok(Self { public_ip, private_ip, name, slots, vitals: vitals(&rest) })
    }
}

fn vitals(members: &Map<String, Value>) -> HostVitals {
    let whole = |name: &str| members.get(name).and_then(Value::as_u64);
    let count = |name: &str| whole(name).and_then(|n| u32::try_from(n).ok());
    let version = |name: &str| {
        let text = members.get(name)?.as_str()?;
        let sound = (1..=LONGEST_VERSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then(|| text.to_owned())
    };
    let load = members.get("Load").and_then(Value::as_f64).filter(|load| (0.0..1e6).contains(load));
    HostVitals {
        containers: count("NumberOfContainers"),
        engine: match members.get("Engine").and_then(Value::as_str) {
            Some("up") => Some(EngineSeen::Up),
            Some("silent") => Some(EngineSeen::Silent),
            _ => None,
        },
        memory_total_bytes: whole("MemoryTotal"),
        memory_available_bytes: whole("MemoryAvailable"),
        disk_total_bytes: whole("DiskTotal"),
        disk_free_bytes: whole("DiskFree"),
        cpus: count("Cpus"),
        // In range, and hundredths of it are whole.
        load_percent: load.map(|load| (load * 100.0).round() as u32),
        engine_version: version("EngineVersion"),
        kernel: version("Kernel"),
        setup_version: version("SetupVersion"),
        booted_at: whole("BootedAt").and_then(|s| i64::try_from(s).ok()).and_then(|s| Timestamp::from_second(s).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a","NumberOfContainers":3,
        "Engine":"silent","EngineVersion":"26.1.5","SetupVersion":"0.1.0","Slots":7,"MemoryTotal":1024,
        "MemoryAvailable":512,"Load":0.29,"Cpus":2,"BootedAt":1790000000,"Kernel":"6.1.0-18-amd64","DiskTotal":9,
        "DiskFree":8,"SomethingNew":{"a":1}}"#;

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
        assert_eq!((seen.kernel.as_deref(), seen.setup_version.as_deref()), (Some("6.1.0-18-amd64"), Some("0.1.0")));
    }

    #[test]
    fn what_makes_no_sense_about_its_health_is_left_out_and_the_host_stays() {
        let odd = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a","NumberOfContainers":-1,
            "Engine":"on fire","MemoryTotal":"much","Load":-4,"Cpus":4.5,"BootedAt":99999999999999999,
            "Kernel":"\u001b[2J","EngineVersion":""}"#;
        assert_eq!(vitals_of(odd), HostVitals::default());
        assert_eq!(vitals_of(r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a"}"#), HostVitals::default());
    }

    #[test]
    fn what_makes_a_host_must_be_there() {
        for member in ["PublicIP", "PrivateIP", "Name"] {
            assert!(Heartbeat::parse(FULL.replacen(member, "Other", 1).as_bytes()).is_err(), "{member}");
        }
    }
}
