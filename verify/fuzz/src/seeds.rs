//! Writes what each target starts from into a folder, one folder a target, and prints the targets' names.
//!
//! Each file of `targets/` hands one kind of bytes from outside to a function of `kdistro-outside`, which the ordinary
//! tests drive too, for a moment. All of them for 20 seconds each, from this folder:
//!
//! ```text
//! for target in $(cargo run --quiet -- ../../target/fuzz/corpus); do
//!     cargo run --quiet --bin "$target" -- "../../target/fuzz/corpus/$target" -max_total_time=20 || break
//! done
//! ```
//!
//! The flags of the compiler stand in `.cargo/config.toml`; the stable compiler takes them. What libFuzzer finds it
//! writes as `crash-…` into this folder, and `cargo run --bin TARGET -- crash-…` shows it again.
//!
//! A target itself, which ends before the first input: only libFuzzer has what instrumented code calls.

#![no_main]

use std::{env, fs, path::Path, process};

use kdistro_outside::seeds::{self, Failure};

libfuzzer_sys::fuzz_target!(init: finish(&write_all()), |_data: &[u8]| {});

/// Ends the program before libFuzzer starts.
fn finish(result: &Result<(), Failure>) {
    if let Err(error) = result {
        eprintln!("error: {error}");
    }
    process::exit(if result.is_ok() { 0 } else { 2 });
}

fn write_all() -> Result<(), Failure> {
    let folder = env::args().nth(1).ok_or("name a folder for the seeds")?;
    for (target, seeds) in seeds::all()? {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        println!("{target}");
    }
    Ok(())
}
