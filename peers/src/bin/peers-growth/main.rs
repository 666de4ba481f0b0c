//! How the cost of an entry grows, almadia's beside raft-rs's: `cargo xtask figure`, at the root of the
//! workspace, or this program by itself.
//!
//! Prints a table. `--csv FILE` writes it down, `--svg FILE` draws it. Names of quantities, or beginnings of
//! them, may be given.

mod figure;

use std::fmt::Write as _;
use std::process::ExitCode;

use almadia_peers::growth::{Point, Quantity};

/// The points of a quantity, by rising values.
type Curves = (Quantity, Vec<Point>);

fn main() -> ExitCode {
    let (mut names, mut csv, mut svg) = (Vec::new(), None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--csv" => csv = arguments.next(),
            "--svg" => svg = arguments.next(),
            _ => names.push(argument),
        }
    }
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted));
    let quantities = Quantity::ALL.into_iter();
    let curves: Vec<Curves> = quantities
        .filter(|quantity| wanted(quantity.name()))
        .map(|quantity| (quantity, measured(quantity)))
        .collect();
    let written = csv.map_or(Ok(()), |path| std::fs::write(path, as_csv(&curves)));
    let drawn = svg.map_or(Ok(()), |path| figure::draw(&path, &curves));
    match (written, drawn) {
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        (Err(error), _) => failed(&error),
        (_, Err(error)) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn measured(quantity: Quantity) -> Vec<Point> {
    eprintln!("{} are measured", quantity.counts());
    let points = quantity.measured();
    println!("{}: {}", quantity.name(), quantity.unit());
    println!(
        "{:>12} {:>12} {:>12} {:>8}",
        "", "almadia", "raft-rs", "ratio"
    );
    for point in &points {
        let Point {
            value,
            almadia,
            raft_rs,
        } = point;
        let ratio = raft_rs / almadia;
        println!("{value:12} {almadia:12.0} {raft_rs:12.0} {ratio:8.1}");
    }
    println!();
    points
}

fn as_csv(curves: &[Curves]) -> String {
    let mut text = String::from("quantity,value,almadia_ns,raft_rs_ns\n");
    for (quantity, points) in curves {
        for point in points {
            let Point {
                value,
                almadia,
                raft_rs,
            } = point;
            let name = quantity.name();
            // A string takes everything.
            let _ = writeln!(text, "{name},{value},{almadia:.1},{raft_rs:.1}");
        }
    }
    text
}
