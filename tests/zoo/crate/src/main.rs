// SPDX-License-Identifier: Apache-2.0

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--help") => println!("Usage: demo_fuse"),
        Some("--version") => println!("{{\"features\": [{}]}}", if cfg!(feature = "fuse_support") { "\"fuse_support\"" } else { "" }),
        _ => std::process::exit(2),
    }
}
