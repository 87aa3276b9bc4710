use super::*;
#[test]
fn try_fit() {
    for era in [Era::December2021, Era::June2021] {
        let mut n = 0;
        let start = std::time::Instant::now();
        let fitted = fit(era, &mut |k| n = k).unwrap();
        for f in &fitted { println!("{era:?} {:?} rms {:.4} {:?} {n} evals {:?}", f.names, f.rms, f.names.iter().map(|n| f.params.get(n).unwrap()).collect::<Vec<_>>(), start.elapsed()); }
    }
}
