// SPDX-License-Identifier: Apache-2.0
//! Printing: JSON, or the same as indented text.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// Print to standard output; a reader that has gone away is no failure.
pub(crate) fn print(value: &Value, json: bool) -> ExitCode {
    let mut text = if json {
        format!("{value:#}")
    } else {
        String::new()
    };
    if !json {
        write_text(&mut text, value, 0);
    }
    match std::io::stdout()
        .write_all(text.trim_end().as_bytes())
        .and_then(|()| std::io::stdout().write_all(b"\n"))
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("dump.vexfs: standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// A line for each field; lists of plain objects a line for each.
fn write_text(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if is_nested(field) {
                    let _ = writeln!(out, "{indent}{name}:");
                    write_text(out, field, depth + 1);
                } else {
                    let _ = writeln!(out, "{indent}{name}: {}", plain(field));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(fields) if !fields.values().any(is_nested) => {
                        let parts = fields
                            .iter()
                            .map(|(name, field)| format!("{name} {}", plain(field)));
                        let _ = writeln!(out, "{indent}{}", parts.collect::<Vec<_>>().join(", "));
                    }
                    item if is_nested(item) => {
                        let _ = writeln!(out, "{indent}-");
                        write_text(out, item, depth + 1);
                    }
                    item => {
                        let _ = writeln!(out, "{indent}{}", plain(item));
                    }
                }
            }
        }
        other => {
            let _ = writeln!(out, "{indent}{}", plain(other));
        }
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
