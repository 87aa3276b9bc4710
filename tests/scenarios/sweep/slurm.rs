//! A sweep as an array of jobs of a real Slurm, which the test starts for itself: on the loopback
//! interface, with a key of its own, and all that it writes in a folder that goes with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use qpmux_tests::binary::qpmux;
use qpmux_tests::{program, root, skip};
use tempfile::TempDir;

use super::{PATIENCE, RUNS, assert_same, contents, folder, reference, runs, wait_until};

/// A cluster of one machine; it ends when this is dropped.
struct Slurm {
    dir: TempDir,
    daemons: Vec<Child>,
}

/// Jobs that are killed need no longer to end.
const ENDING: Duration = Duration::from_secs(10);

/// Slurm's configuration. `{}` is the folder.
const CONFIG: &str = "
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={}/munge.socket
CredType=cred/munge
StateSaveLocation={}/state
SlurmdSpoolDir={}/spool
SlurmctldPidFile={}/slurmctld.pid
SlurmdPidFile={}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=localhost Default=YES MaxTime=5
";

impl Slurm {
    /// Starts it; or says what is not installed.
    fn start() -> Result<Self, String> {
        let mut programs = Vec::new();
        for name in ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "squeue"] {
            programs.push(program(name).ok_or_else(|| format!("{name} is not installed"))?);
        }
        let dir = TempDir::new().unwrap();
        let mut slurm = Self { dir, daemons: Vec::new() };
        slurm.configure();
        let of = |name: &str| slurm.path(name).display().to_string();
        let munge = [
            "--foreground".to_owned(),
            // Else it would not let the folder be closed to others.
            "--force".to_owned(),
            format!("--socket={}", of("munge.socket")),
            format!("--key-file={}", of("munge.key")),
            format!("--pid-file={}", of("munged.pid")),
            format!("--log-file={}", of("munged.log")),
            format!("--seed-file={}", of("munged.seed")),
        ];
        slurm.daemon(&programs[0], &munge);
        wait_until("munged", || slurm.path("munge.socket").exists());
        slurm.daemon(&programs[1], &["-D".to_owned(), "-i".to_owned()]);
        slurm.daemon(&programs[2], &["-D", "-N", "localhost"].map(str::to_owned));
        let begun = Instant::now();
        while !slurm.ask("scontrol", &["show", "node", "-o"]).contains("State=IDLE") {
            assert!(begun.elapsed() < PATIENCE, "Slurm does not start:\n{}", slurm.logs());
            thread::sleep(Duration::from_millis(100));
        }
        Ok(slurm)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self) {
        for name in ["state", "spool"] {
            fs::create_dir(self.path(name)).unwrap();
        }
        let mut key = vec![0; 128];
        let mut random = fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut random, &mut key).unwrap();
        fs::write(self.path("munge.key"), key).unwrap();
        let own = fs::Permissions::from_mode(0o400);
        fs::set_permissions(self.path("munge.key"), own).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [ctld, d] = listeners.each_ref().map(|free| free.local_addr().unwrap().port());
        let text = CONFIG.replace("{}", self.dir.path().to_str().unwrap());
        let who = user.trim();
        let more =
            format!("SlurmUser={who}\nSlurmdUser={who}\nSlurmctldPort={ctld}\nSlurmdPort={d}\n");
        fs::write(self.path("slurm.conf"), text + &more).unwrap();
    }

    /// Starts a daemon, which stays a child of this process; what it says goes to a file.
    fn daemon(&mut self, program: &Path, arguments: &[String]) {
        let name = program.file_name().unwrap().to_str().unwrap();
        let log = fs::File::create(self.path(&format!("{name}.out"))).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", self.path("slurm.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
    }

    /// A command of Slurm's.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(name);
        command.args(arguments).env("SLURM_CONF", self.path("slurm.conf")).stdin(Stdio::null());
        command
    }

    /// What a command of Slurm's prints; nothing if it fails.
    fn ask(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.command(name, arguments).output();
        output.map_or_else(|_| String::new(), |output| text(&output.stdout))
    }

    /// Submits an example script: the job's number.
    fn submit(&self, folder: &Path, options: &[&str], script: &str, arguments: &[&str]) -> String {
        let script = root().join("docs/slurm").join(script);
        let script = [script.to_str().unwrap()];
        let all = [&["--parsable"], options, &script, arguments].concat();
        // Jobs get this environment; `qpmux` is the program under test.
        let tested = qpmux();
        let tested = Path::new(tested.get_program()).parent().unwrap();
        let path = format!("{}:{}", tested.display(), std::env::var("PATH").unwrap());
        let mut command = self.command("sbatch", &all);
        let output = command.current_dir(folder).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }

    /// Waits for the end of a job: the states of its tasks.
    fn wait(&self, job: &str) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let text = self.ask("scontrol", &["show", "job", "-o", job]);
            let states: Vec<String> = text
                .split_whitespace()
                .filter_map(|word| word.strip_prefix("JobState=").map(str::to_owned))
                .collect();
            let is_on = |state: &String| {
                ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING"].contains(&state.as_str())
            };
            if !states.is_empty() && !states.iter().any(is_on) {
                return states;
            }
            let has_time = begun.elapsed() < PATIENCE;
            assert!(has_time, "job {job} does not end: {text}\n{}", self.logs());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// What the daemons have said.
    fn logs(&self) -> String {
        let names = ["munged.out", "munged.log", "slurmctld.out", "slurmd.out"];
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        names.map(|name| format!("{name}:\n{}\n", read(name))).concat()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // Jobs, which a test that has failed may leave, would outlive the daemons.
        let jobs = self.ask("squeue", &["--noheader", "--format=%A"]);
        for job in jobs.split_whitespace() {
            self.ask("scancel", &["--state=PENDING", job]);
            self.ask("scancel", &["--signal=KILL", "--full", job]);
        }
        let begun = Instant::now();
        while !self.ask("squeue", &["--noheader"]).is_empty() && begun.elapsed() < ENDING {
            thread::sleep(Duration::from_millis(100));
        }
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// All that jobs printed, to be shown where they failed.
fn outputs(folder: &Path) -> String {
    let files = contents(folder).into_iter();
    let texts = files.filter(|(path, _)| path.extension() == Some("out".as_ref()));
    let show = |(path, bytes): (PathBuf, Vec<u8>)| {
        format!("{}:\n{}\n", path.display(), String::from_utf8_lossy(&bytes))
    };
    texts.map(show).collect()
}

#[test]
fn an_array_of_jobs_and_a_merge_after_it_leave_what_one_machine_leaves() {
    let slurm = match Slurm::start() {
        Ok(slurm) => slurm,
        Err(why) => return skip("a sweep by Slurm", &why),
    };
    let folder = folder();
    let folder = folder.path();
    // Part 3 of an array with a hole would be part 1 of 2 or of 3: nobody knows.
    let holes = ["--array=2-3", "--array=1,3", "--array=0-1"];
    let none = ["plan.toml", "none"];
    let holed = holes.map(|array| slurm.submit(folder, &[array], "sweep.sbatch", &none));
    let sweep = slurm.submit(folder, &["--array=1-4"], "sweep.sbatch", &["plan.toml", "out"]);
    let after = format!("--dependency=afterok:{sweep}");
    let merge = slurm.submit(folder, &[&after], "merge.sbatch", &["out"]);
    assert_eq!(slurm.wait(&sweep), ["COMPLETED"; 4], "{}", outputs(folder));
    assert_eq!(slurm.wait(&merge), ["COMPLETED"], "{}", outputs(folder));
    assert_eq!(runs(&folder.join("out")).len(), RUNS);
    assert_same(&contents(&folder.join("out")), &reference().0);
    for job in holed {
        assert_eq!(slurm.wait(&job), ["FAILED", "FAILED"]);
        let said = fs::read_to_string(folder.join(format!("qpmux-sweep-{job}-1.out")));
        let said = said.unwrap_or_else(|_| outputs(folder));
        assert!(said.contains("the array has to be 1-N without holes"), "{said}");
    }
    assert!(!folder.join("none").exists());
}
