use super::*;
use crate::store::Mode;
use qpmux_workloads::keys::Ycsb;
#[test]
fn try_one() {
    let scene = Scene::of(Era::December2021, 15_000).unwrap();
    for (mode, w, t) in [(Mode::Clover, Ycsb::B, 64), (Mode::Clover, Ycsb::A, 64), (Mode::Mapping, Ycsb::B, 64)] {
        let start = std::time::Instant::now();
        let s = scene.job(mode, w, t).unwrap().run(1).unwrap();
        println!("{mode:?} {w} {t} {s:?} {:?}", start.elapsed());
    }
}
#[test]
fn try_fit() {
    for era in [Era::December2021, Era::June2021] {
        let mut n = 0;
        let start = std::time::Instant::now();
        let fitted = fit(era, &mut |k| n = k).unwrap();
        for f in &fitted { println!("{era:?} {:?} rms {:.4} {:?} {n} evals {:?}", f.names, f.rms, f.names.iter().map(|n| f.params.get(n).unwrap()).collect::<Vec<_>>(), start.elapsed()); }
    }
}
