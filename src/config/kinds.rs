//! What a value may be: one reader for each kind of value, and each refusal says what is allowed.
//!
//! Pure. A reader gets a TOML value and gives the typed one, or the end of a sentence that begins with the key.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use toml::Value;

/// A typed value, or what would have been allowed.
pub(super) type Read<T> = Result<T, String>;

/// Any text.
pub(super) fn text(value: &Value) -> Read<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "must be a text in quotes".to_owned())
}

/// A text that `parse` accepts; its error is the sentence.
pub(super) fn parsed<T, E: std::fmt::Display>(parse: impl Fn(&str) -> Result<T, E>) -> impl Fn(&Value) -> Read<T> {
    move |value| parse(&text(value)?).map_err(|e| e.to_string())
}

/// A text that is not empty.
pub(super) fn some_text(value: &Value) -> Read<String> {
    text(value)?.some().ok_or_else(|| "must not be empty".to_owned())
}

/// A text, or nothing when it is empty.
pub(super) fn optional_text(value: &Value) -> Read<Option<String>> {
    Ok(text(value)?.some())
}

/// A path, or nothing when it is empty.
pub(super) fn optional_path(value: &Value) -> Read<Option<PathBuf>> {
    Ok(text(value)?.some().map(PathBuf::from))
}

/// A whole number within bounds.
pub(super) fn whole<T: TryFrom<i64>>(bounds: RangeInclusive<i64>) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        value
            .as_integer()
            .filter(|number| bounds.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// A number above `above` and up to `most`.
pub(super) fn number(above: f64, most: f64) -> impl Fn(&Value) -> Read<f64> {
    move |value| {
        value
            .as_float()
            // Whole numbers come without a point; those that are allowed are far below 2^53.
            .or_else(|| value.as_integer().and_then(|whole| i32::try_from(whole).ok()).map(f64::from))
            .filter(|number| *number > above && *number <= most)
            .ok_or_else(|| format!("must be a number above {above} and up to {most}"))
    }
}

/// A duration such as `90s` within bounds, which are written the same way.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&Value) -> Read<Duration> {
    move |value| {
        value
            .as_str()
            .and_then(|text| humantime::parse_duration(text).ok())
            .filter(|duration| (least..=most).contains(duration))
            .ok_or_else(|| {
                let (least, most) = (in_words(least), in_words(most));
                format!("must be a duration from {least} to {most}, such as \"90s\", \"12h\" or \"1h 30m\"")
            })
    }
}

/// Days, where it is nothing but days: months and years have no certain length.
fn in_words(duration: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    match duration.as_secs() {
        seconds if seconds > DAY && seconds % DAY == 0 => format!("{}days", seconds / DAY),
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// `true` or `false`.
pub(super) fn yes_or_no(value: &Value) -> Read<bool> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("must be {}", words.join(" or "))
        })
    }
}

/// An IP address.
pub(super) fn ip(value: &Value) -> Read<IpAddr> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "must be an IP address such as 203.0.113.7".to_owned())
}

/// An IP address that a tenant can connect to.
pub(super) fn reachable(value: &Value) -> Read<IpAddr> {
    let address = ip(value)?;
    if address.is_unspecified() || address.is_multicast() {
        return Err("must be an address that a tenant can connect to".to_owned());
    }
    Ok(address)
}

/// An IP address with a port.
pub(super) fn socket(value: &Value) -> Read<SocketAddr> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "must be an IP address and a port such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// A list whose items `item` accepts.
pub(super) fn list<T>(item: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Vec<T>> {
    move |value| {
        let items = value.as_array().ok_or_else(|| "must be a list in brackets".to_owned())?;
        let (good, bad): (Vec<_>, Vec<_>) = items.iter().map(&item).enumerate().partition(|(_, read)| read.is_ok());
        if bad.is_empty() {
            return Ok(good.into_iter().filter_map(|(_, read)| read.ok()).collect());
        }
        let words = bad.into_iter().filter_map(|(at, read)| Some(format!("item {} {}", at + 1, read.err()?)));
        Err(words.collect::<Vec<_>>().join("; "))
    }
}

/// A network in CIDR notation; a single address stands for itself.
pub(super) fn network(value: &Value) -> Read<IpNet> {
    let text = value.as_str().unwrap_or_default();
    IpNet::from_str(text)
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "must be a network such as \"10.0.0.0/8\" or an address".to_owned())
}

/// A range of ports such as `20000-29999`, or nothing when it is empty.
pub(super) fn ports(value: &Value) -> Read<Option<RangeInclusive<u16>>> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.split_once('-')
        .and_then(|(first, last)| Some(first.trim().parse().ok()?..=last.trim().parse().ok()?))
        .filter(|ports: &RangeInclusive<u16>| *ports.start() >= 1024 && !ports.is_empty())
        .map(Some)
        .ok_or_else(|| "must be empty or two ports from 1024 to 65535 such as \"20000-29999\"".to_owned())
}

/// The schemes a container engine is reached by.
const ENGINE_SCHEMES: [&str; 3] = ["unix://", "tcp://", "https://"];

/// Where a container engine is.
pub(super) fn engine(value: &Value) -> Read<String> {
    text(value)?
        .some()
        .filter(|text| ENGINE_SCHEMES.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|at| !at.is_empty())))
        .ok_or_else(|| {
            "must be unix:// and a path, or tcp:// or https:// with host and port, such as tcp://10.0.0.5:2376"
                .to_owned()
        })
}

/// As [`engine`], or nothing when it is empty.
pub(super) fn optional_engine(value: &Value) -> Read<Option<String>> {
    if value.as_str() == Some("") { Ok(None) } else { engine(value).map(Some).map_err(|e| format!("{e}, or empty")) }
}

trait NonEmpty: Sized {
    fn some(self) -> Option<Self>;
}

impl NonEmpty for String {
    fn some(self) -> Option<Self> {
        Some(self).filter(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_is_two_numbers_in_order() {
        assert_eq!(ports(&"".into()), Ok(None));
        assert_eq!(ports(&"20000-29999".into()), Ok(Some(20000..=29999)));
        for bad in ["20000", "3-2", "0-10", "80-90", "1-99999", "a-b", "-"] {
            assert!(ports(&bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_single_address_is_a_network_of_its_own() {
        assert_eq!(network(&"10.1.2.3".into()).unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network(&"::1".into()).unwrap().to_string(), "::1/128");
        assert_eq!(network(&"10.0.0.0/8".into()).unwrap().to_string(), "10.0.0.0/8");
        assert!(network(&"10.0.0.0/33".into()).is_err());
    }

    #[test]
    fn every_bad_item_of_a_list_is_named() {
        let value = Value::Array(vec!["1.1.1.1".into(), "x".into(), 3.into()]);
        let refused = list(network)(&value).unwrap_err();
        assert!(refused.contains("item 2") && refused.contains("item 3") && !refused.contains("item 1"), "{refused}");
    }

    #[test]
    fn an_engine_has_a_scheme_and_something_behind_it() {
        for good in ["unix:///var/run/docker.sock", "tcp://h:2375", "https://h:2376/prefix"] {
            assert!(engine(&good.into()).is_ok(), "{good}");
        }
        for bad in ["", "/var/run/docker.sock", "tcp://", "http://h", "ssh://h"] {
            assert!(engine(&bad.into()).is_err(), "{bad}");
        }
    }
}
