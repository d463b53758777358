//! Who asks for an instance when, and for how long: from a profile and a seed, or from a recorded trace.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, from the beginning.
    pub at: Duration,
    /// How long the instance lives.
    pub ttl: Duration,
    /// Who asks.
    pub creator: u16,
}

/// What a made-up stretch of arrivals is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Around the clock the same: 30 an hour for one to six hours.
    Steady,
    /// Busy by day and quiet by night: 5 to 55 an hour for one to eight hours.
    Daily,
    /// As by day and night, and two or three times a day 40 to 160 more within ten minutes: hackathons, CI.
    Bursty,
    /// A team's builds: 150 an hour for five to twenty minutes from eight to six on Monday to Friday, and 3 at other times.
    Builds,
    /// Three lessons a day from Monday to Friday, each a class of 25 to 35 within five minutes, and hardly anybody else.
    Classroom,
}

impl Profile {
    /// Arrivals of this many days, the same for the same seed.
    #[must_use]
    pub fn arrivals(self, days: u32, seed: u64) -> Vec<Arrival> {
        let mut maker = Maker { rng: StdRng::seed_from_u64(seed), arrivals: Vec::new() };
        let end = f64::from(days) * DAY;
        match self {
            Self::Steady => maker.poisson(end, 30.0, |_| 30.0, 1.0..6.0),
            Self::Daily => maker.poisson(end, 55.0, by_day, 1.0..8.0),
            Self::Bursty => {
                maker.poisson(end, 55.0, by_day, 1.0..8.0);
                for day in 0..days {
                    for _ in 0..maker.rng.random_range(2..=3) {
                        let at = f64::from(day) * DAY + maker.rng.random_range(7.0..23.0) * HOUR;
                        let size = maker.rng.random_range(40..=160);
                        maker.crowd(at, 600.0, size, 2.0..6.0);
                    }
                }
            }
            Self::Builds => maker.poisson(end, 150.0, by_work, 5.0 / 60.0..20.0 / 60.0),
            Self::Classroom => {
                maker.poisson(end, 2.0, |_| 2.0, 1.0..4.0);
                for day in (0..days).filter(|day| day % 7 < 5) {
                    for hour in [9.0, 11.0, 14.0] {
                        let size = maker.rng.random_range(25..=35);
                        maker.crowd(f64::from(day) * DAY + hour * HOUR, 300.0, size, 1.5..2.0);
                    }
                }
            }
        }
        maker.done(end)
    }
}

/// Arrivals an hour at this second of a stretch: fewest at four in the morning, most at four in the afternoon.
fn by_day(second: f64) -> f64 {
    30.0 - 25.0 * ((second / DAY - 4.0 / 24.0) * std::f64::consts::TAU).cos()
}

/// Arrivals an hour while people work and while they do not.
fn by_work(second: f64) -> f64 {
    let (day, hour) = (second / DAY % 7.0, second % DAY / HOUR);
    if day < 5.0 && (8.0..18.0).contains(&hour) { 150.0 } else { 3.0 }
}

struct Maker {
    rng: StdRng,
    arrivals: Vec<Arrival>,
}

impl Maker {
    /// A Poisson process with a changing rate an hour that is never above `most`: one with `most`, thinned out.
    fn poisson(&mut self, end: f64, most: f64, rate: impl Fn(f64) -> f64, hours: std::ops::Range<f64>) {
        let mut at = 0.0;
        loop {
            at += -self.rng.random_range(f64::MIN_POSITIVE..1.0).ln() * HOUR / most;
            if at >= end {
                return;
            }
            if self.rng.random_range(0.0..most) < rate(at) {
                self.arrive(at, hours.clone());
            }
        }
    }

    fn crowd(&mut self, at: f64, within: f64, size: u32, hours: std::ops::Range<f64>) {
        for _ in 0..size {
            let later = self.rng.random_range(0.0..within);
            self.arrive(at + later, hours.clone());
        }
    }

    fn arrive(&mut self, at: f64, hours: std::ops::Range<f64>) {
        let ttl = Duration::from_secs_f64((self.rng.random_range(hours) * HOUR).round());
        let creator = self.rng.random_range(0..2000);
        self.arrivals.push(Arrival { at: Duration::from_millis((at * 1000.0) as u64), ttl, creator });
    }

    fn done(mut self, end: f64) -> Vec<Arrival> {
        self.arrivals.retain(|arrival| arrival.at.as_secs_f64() < end);
        self.arrivals.sort_by_key(|arrival| (arrival.at, arrival.ttl, arrival.creator));
        self.arrivals
    }
}

/// Reads a trace: a line `seconds,ttl_seconds` or `seconds,ttl_seconds,creator` for each arrival, in any order; empty
/// lines, those that begin with `#`, and a line of headings before the first arrival are passed over.
///
/// # Errors
/// The first line that makes no sense.
pub fn read_trace(text: &str) -> Result<Vec<Arrival>, String> {
    let mut arrivals = Vec::new();
    let mut creators = Vec::new();
    // Spreadsheets begin a file with a mark of its byte order.
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (arrivals.is_empty() && line.starts_with("seconds")) {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let mut fields = line.split(',').map(str::trim);
        let mut seconds = |what| {
            let value = fields.next().and_then(|field| field.parse::<f64>().ok());
            let value = value.and_then(|value| Duration::try_from_secs_f64(value).ok());
            value.filter(|value| value.as_secs() < 100 * 365 * 24 * 3600).ok_or_else(|| wrong(what))
        };
        let at = seconds("the time must be seconds from the beginning")?;
        let ttl = seconds("the life must be seconds")?;
        if ttl.is_zero() {
            return Err(wrong("the life must be longer than nothing"));
        }
        let name = fields.next().unwrap_or_default();
        if fields.next().is_some() {
            return Err(wrong("there are more than three fields"));
        }
        let known = creators.iter().position(|known| *known == name).unwrap_or_else(|| {
            creators.push(name);
            creators.len() - 1
        });
        let creator = u16::try_from(known).map_err(|_| wrong("there are more than 65536 creators"))?;
        arrivals.push(Arrival { at, ttl, creator });
    }
    arrivals.sort_by_key(|arrival: &Arrival| arrival.at);
    Ok(arrivals)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Profile; 5] = [Profile::Steady, Profile::Daily, Profile::Bursty, Profile::Builds, Profile::Classroom];

    #[test]
    fn a_seed_gives_the_same_arrivals_in_order_and_another_seed_gives_others() {
        for profile in ALL {
            let arrivals = profile.arrivals(7, 1);
            assert_eq!(arrivals, profile.arrivals(7, 1));
            assert_ne!(arrivals, profile.arrivals(7, 2));
            assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
            assert!(
                arrivals.iter().all(|a| a.at < Duration::from_secs(7 * 24 * 3600) && a.ttl >= Duration::from_secs(300))
            );
            assert!((300..10_000).contains(&arrivals.len()), "{profile:?}: {}", arrivals.len());
        }
    }

    #[test]
    fn a_trace_is_read_with_and_without_creators_and_headings() {
        let text = "seconds,ttl_seconds,creator\n# comment\n10,3600,ann\n\n2.5, 60, bob\n11,60,ann\n";
        let arrivals = read_trace(text).unwrap();
        let shown: Vec<_> = arrivals.iter().map(|a| (a.at.as_millis(), a.ttl.as_secs(), a.creator)).collect();
        assert_eq!(shown, [(2500, 60, 1), (10_000, 3600, 0), (11_000, 60, 0)]);
        assert_eq!(read_trace("1,60\n2,60").unwrap().len(), 2);
        assert_eq!(read_trace("\u{feff}seconds,ttl_seconds\n1,60").unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        let wrong = ["1,60\nx,60", "-1,60", "1", "1,0", "1,2,a,b"];
        for (text, expected) in wrong.into_iter().zip(["line 2", "line 1", "the life", "longer", "three"]) {
            let error = read_trace(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
