//! Reading the body of a request: bounded, JSON or nothing, and every refusal names the field.

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{HttpMessage, HttpRequest, http::header, web};
use futures_util::StreamExt;
use getaredis_actors::domain::Label;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};

use super::problem::{Kind, Problem};

/// A body of a few kilobytes that takes longer is not on its way but held back.
const WITHIN: Duration = Duration::from_secs(10);

/// Reads the body as `T`; an empty one is `T`'s default, whatever content type it claims.
pub(super) async fn read<T>(request: &HttpRequest, payload: web::Payload, limit: usize) -> Result<T, Problem>
where
    T: DeserializeOwned + Default,
{
    let bytes = collect(request, payload, limit).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            "Send the body as JSON, with Content-Type: application/json.",
        ));
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::new(Kind::UnsupportedMediaType, "Send the body as it is, without a Content-Encoding."));
    }
    parse(&bytes)
}

async fn collect(request: &HttpRequest, mut payload: web::Payload, limit: usize) -> Result<Vec<u8>, Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: u64| announced > limit as u64) {
        return Err(Problem::payload_too_large(limit));
    }
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk
                .map_err(|error| Problem::new(Kind::InvalidRequest, "The body could not be read.").because(error))?;
            if bytes.len() + chunk.len() > limit {
                return Err(Problem::payload_too_large(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let late = |_| Err(Problem::new(Kind::InvalidRequest, "The body did not arrive in time."));
    tokio::time::timeout(WITHIN, reading).await.unwrap_or_else(late)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would take an array for a struct too, field by field.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(Kind::InvalidRequest, "The body must be a JSON object."));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, &error.into_inner())
    })?;
    json.end().map_err(|error| refusal(".", &error))?;
    Ok(value)
}

fn refusal(path: &str, error: &serde_json::Error) -> Problem {
    let words = error.to_string();
    if !error.is_data() {
        return Problem::new(Kind::InvalidRequest, format!("The body is not valid JSON: {words}."));
    }
    // A field that comes twice is noticed outside of it, so serde's own words have to name it.
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let twice = words.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
    match (twice, path) {
        (Some(field), _) => Problem::invalid(field, format!("{field} may be given once only.")),
        (None, ".") => Problem::new(Kind::InvalidRequest, format!("The body does not fit: {words}.")),
        (None, field) => Problem::invalid(field, format!("{field}: {words}.")),
    }
}

/// The body of a create.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    pub(super) ttl: Option<Ttl>,
    pub(super) flavour: Option<String>,
    pub(super) label: Option<Label>,
}

/// The body of an extension.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendBody {
    pub(super) ttl: Option<Ttl>,
}

/// How long: whole seconds, or words such as `12h` or `1h 30m`. Whether it may be that long is the brain's decision, also
/// for less than nothing, which is read as nothing, and for more than can be counted, which is read as the most: so that
/// whoever is refused is told the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ttl(pub(super) Duration);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Ttl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("whole seconds as a number, or a text such as \"12h\" or \"90m\"")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Ttl, E> {
                Ok(Ttl(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Ttl, E> {
                Ok(Ttl(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Ttl, E> {
                if seconds.fract() != 0.0 {
                    return Err(E::invalid_type(de::Unexpected::Float(seconds), &self));
                }
                Ok(Ttl(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
            }

            fn visit_str<E: de::Error>(self, words: &str) -> Result<Ttl, E> {
                let time = words.trim();
                let below_zero = time.strip_prefix('-');
                let most = match humantime::parse_duration(below_zero.unwrap_or(time)) {
                    Ok(duration) => duration,
                    Err(humantime::DurationError::NumberOverflow) => Duration::MAX,
                    Err(error) => {
                        let shown: Cow<'_, str> = words.chars().take(40).collect::<String>().into();
                        return Err(E::custom(format_args!(
                            "{shown:?} is not a time such as \"12h\" or \"90m\": {error}"
                        )));
                    }
                };
                Ok(Ttl(if below_zero.is_some() { Duration::ZERO } else { most }))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn refused(body: &str) -> (Value, String) {
        let problem = parse::<CreateBody>(body.as_bytes()).unwrap_err().to_json();
        assert_eq!(problem["status"], 400, "{body}");
        (problem["field"].clone(), problem["detail"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_ttl_is_whole_seconds_or_words() {
        for (ttl, seconds) in [
            ("3600", 3600),
            ("0", 0),
            ("\"12h\"", 43_200),
            ("\"90m\"", 5400),
            ("\"1h 30m\"", 5400),
            ("\" 60s \"", 60),
            ("3600.0", 3600),
            ("18446744073709551615", u64::MAX),
            ("-1", 0),
            ("-1e3", 0),
            ("\"-5m\"", 0),
        ] {
            let body: CreateBody = parse(format!("{{\"ttl\": {ttl}}}").as_bytes()).unwrap();
            assert_eq!(body.ttl, Some(Ttl(Duration::from_secs(seconds))), "{ttl}");
        }
        for ttl in ["1e30", "18446744073709551616", "\"99999999999999999999h\"", "\"18446744073709551615h\""] {
            let body: CreateBody = parse(format!("{{\"ttl\": {ttl}}}").as_bytes()).unwrap();
            assert!(body.ttl.unwrap().0 >= Duration::from_secs(u64::MAX), "{ttl}: {body:?}");
        }
    }

    #[test]
    fn every_field_may_be_left_out_or_null() {
        for body in ["{}", " {} ", "{\"ttl\":null,\"flavour\":null,\"label\":null}"] {
            let body: CreateBody = parse(body.as_bytes()).unwrap();
            assert!(body.ttl.is_none() && body.flavour.is_none() && body.label.is_none());
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        for (body, field) in [
            (r#"{"ttl": 1.5}"#, "ttl"),
            (r#"{"ttl": -1.5}"#, "ttl"),
            (r#"{"ttl": true}"#, "ttl"),
            (r#"{"ttl": []}"#, "ttl"),
            (r#"{"ttl": {}}"#, "ttl"),
            (r#"{"ttl": ""}"#, "ttl"),
            (r#"{"ttl": "NaN"}"#, "ttl"),
            (r#"{"ttl": "-"}"#, "ttl"),
            (r#"{"ttl": "3600"}"#, "ttl"),
            (r#"{"ttl": "soon"}"#, "ttl"),
            (r#"{"flavour": 7}"#, "flavour"),
            (r#"{"label": 7}"#, "label"),
            (r#"{"label": ""}"#, "label"),
            (r#"{"label": "a\nb"}"#, "label"),
            (r#"{"TTL": 60}"#, "TTL"),
            (r#"{"colour": "red"}"#, "colour"),
            (r#"{"ttl": 60, "ttl": 70}"#, "ttl"),
            (r#"{"label": "a", "label": "a"}"#, "label"),
        ] {
            assert_eq!(refused(body).0, json!(field), "{body}");
        }
        let long = format!("{{\"label\": \"{}\"}}", "x".repeat(101));
        assert_eq!(
            refused(&long),
            (json!("label"), "label: a label must be 1 to 100 characters without control characters.".into())
        );
    }

    #[test]
    fn what_is_no_json_object_is_refused_without_a_field() {
        for body in [
            "[]",
            "[3600]",
            "\"x\"",
            "7",
            "null",
            "{",
            "{} {}",
            "{}x",
            "{\"ttl\" 7}",
            "{\"ttl\": NaN}",
            "\u{feff}{}",
            "  ",
        ] {
            assert_eq!(refused(body).0, Value::Null, "{body}");
        }
    }

    #[test]
    fn a_refusal_repeats_little_of_what_was_sent() {
        let name = "x".repeat(10_000);
        let (field, detail) = refused(&format!("{{\"{name}\": 1}}"));
        assert!(field.as_str().unwrap().len() <= 300);
        assert!(detail.chars().count() <= 301);
    }

    proptest! {
        #[test]
        fn no_body_whatever_breaks_the_reader(body in "\\PC{0,200}") {
            let _ = parse::<CreateBody>(body.as_bytes());
        }

        #[test]
        fn no_ttl_whatever_breaks_the_reader(words in "[0-9a-z \\-.]{0,40}") {
            let _ = parse::<CreateBody>(json!({"ttl": words}).to_string().as_bytes());
        }
    }
}
