//! The registry client: what it does with a real registry, and what others cannot make it do.

mod attempts;
mod connections;
mod content;
mod downloads;
mod fallback_tags;
mod hostile;
mod identity_tokens;
mod large_uploads;
mod origins;
mod real;
mod secrets;
mod tags;
mod tls;
mod tokens;
mod uploads;
mod warnings;
