// SPDX-License-Identifier: Apache-2.0
//! A daemon in Rust that does nothing but answer for itself.

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--features") if cfg!(feature = "metrics") => {
            println!(r#"{{"features": ["metrics"]}}"#)
        }
        Some("--features") => println!(r#"{{"features": []}}"#),
        Some("--version") => println!("agentd {}", env!("CARGO_PKG_VERSION")),
        _ => {
            eprintln!("Usage: agentd --features | --version");
            std::process::exit(2);
        }
    }
}
