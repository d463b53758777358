// Pure formatting: numbers, durations, moments and the ready-to-paste lines. No DOM, no clock.

const HOUR = 3600;
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** 43200 → "12 hours", 5400 → "1 hour 30 minutes", 45 → "45 seconds". */
export function durationWords(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return plural(s, "second");
  const minutes = Math.round(s / 60);
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  if (hours === 0) return plural(minutes, "minute");
  return rest === 0 ? plural(hours, "hour") : `${plural(hours, "hour")} ${plural(rest, "minute")}`;
}

/** The running clock: "11:59:58", and "9:58" in the last hour. A part of a second counts as a whole one. */
export function clock(seconds) {
  const s = Math.max(0, Math.ceil(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / HOUR);
  const minutes = Math.floor((s % HOUR) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

/** Time left for a table of thousands: coarse far away, so that few cells change in a second. */
export function coarse(seconds) {
  const s = Math.ceil(seconds);
  if (s <= 0) return "due";
  if (s < 60) return `${s} s`;
  if (s < 600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How old something is, or how long it takes, in one unit: "12 s", "5 min", "3 h", "4 days". */
export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < HOUR) return `${Math.floor(s / 60)} min`;
  if (s < 48 * HOUR) return `${Math.floor(s / HOUR)} h`;
  return `${Math.floor(s / (24 * HOUR))} days`;
}

/** 0.414 → "41 %". Never 100 before it is. */
export const percent = (part) => `${Math.floor(100 * part + 1e-9)} %`;

/** How long a request has been under way: "0.4 s", "12 s". */
export function elapsed(ms) {
  return ms < 9950 ? `${(Math.max(0, ms) / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

/** 1234567 → "1,234,567". */
export const count = (n) => new Intl.NumberFormat("en").format(n);

/** Bytes in the unit that Redis people use: 5242880 → "5 MB". */
export function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = n;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${Number(value.toFixed(1))} ${units[unit]}`;
}

/**
 * A moment in words, in the reader's own time zone: "today at 21:40", "tomorrow at 09:00", "Tue, 25 Nov at 09:00".
 * `now` is the server's now, so that a wrong clock on this machine does not turn today into tomorrow.
 */
export function moment(at, now, timeZone) {
  const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone }).format(at);
  const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", timeZone });
  const days = (Date.parse(day.format(at)) - Date.parse(day.format(now))) / 86_400_000;
  if (days === 0) return `today at ${time}`;
  if (days === 1) return `tomorrow at ${time}`;
  const date = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone }).format(at);
  return `${date} at ${time}`;
}

/** The sentence about what an instance may use. */
export function limitWords({ memory_bytes, connections }) {
  return `${bytes(memory_bytes)} of data, ${plural(connections, "connection")} at a time`;
}

/** Quotes a word for a POSIX shell. */
export const shellQuote = (word) => `'${String(word).replaceAll("'", "'\\''")}'`;

/** The lines a person pastes next, each with the name of where it goes. */
export function snippets(url) {
  const literal = JSON.stringify(url);
  return [
    { name: "Terminal", text: `redis-cli -u ${shellQuote(url)}` },
    { name: "Environment", text: `REDIS_URL=${url}` },
    { name: "Python", text: `import redis\nr = redis.from_url(${literal})` },
    { name: "Node.js", text: `import Redis from "ioredis";\nconst redis = new Redis(${literal});` },
  ];
}

/** The lines that manage an instance from elsewhere. */
export function manageLines(origin, id, token) {
  const target = shellQuote(`${origin}/v1/instances/${id}`);
  const auth = `-H ${shellQuote(`Authorization: Bearer ${token}`)}`;
  return [
    { name: "Token", text: token },
    { name: "Extend", text: `curl -X PATCH ${auth} -H 'Content-Type: application/json' -d '{"ttl":"24h"}' ${target}` },
    { name: "Delete", text: `curl -X DELETE ${auth} ${target}` },
  ];
}

/** Durations worth offering: an hour, the default, and a day or the longest allowed. */
export function durationChoices({ ttl_s, min_ttl_s, max_ttl_s }) {
  const day = Math.min(86_400, max_ttl_s);
  return [...new Set([HOUR, ttl_s, day])]
    .filter((s) => s >= min_ttl_s && s <= max_ttl_s)
    .sort((a, b) => a - b);
}
