//! Finds DPDK, compiles the shim and makes the bindings, if the feature `bindings` asks for them.

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=shim");
    #[cfg(feature = "bindings")]
    bindings::make()?;
    Ok(())
}

#[cfg(feature = "bindings")]
mod bindings {
    use std::env;
    use std::path::PathBuf;
    use std::process::Command;

    use anyhow::{Context, bail, ensure};

    /// The oldest release whose structures the shim knows: that of Debian 12.
    const OLDEST: &str = "22.11";

    /// What is called. Structures come along with the functions that take them.
    const FUNCTIONS: &str = "qpmux_.*\
        |rte_eal_(init|cleanup)\
        |rte_strerror\
        |rte_version\
        |rte_dev_probe\
        |rte_thread_(register|unregister)\
        |rte_eth_dev_(get_port_by_name|info_get|adjust_nb_rx_tx_desc)\
        |rte_eth_dev_(start|stop|close|socket_id)\
        |rte_eth_(rx|tx)_queue_setup\
        |rte_eth_promiscuous_enable\
        |rte_eth_stats_get\
        |rte_eth_macaddr_get\
        |rte_pktmbuf_pool_create\
        |rte_mbuf_dyn_rx_timestamp_register";

    pub(crate) fn make() -> anyhow::Result<()> {
        let flags = pkg_config(&["--cflags"])?;
        shim(&flags)?;
        bind(&flags)?;
        for path in pkg_config(&["--libs-only-L"])? {
            println!("cargo:rustc-link-search=native={}", path.trim_start_matches("-L"));
        }
        // Drivers are plug-ins: DPDK loads them when it starts.
        for library in ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool"] {
            println!("cargo:rustc-link-lib={library}");
        }
        Ok(())
    }

    /// What pkg-config says about DPDK, word by word: unlike the crate of that name it keeps
    /// `-include` and `-march`, without which DPDK's inline functions do not compile.
    fn pkg_config(question: &[&str]) -> anyhow::Result<Vec<String>> {
        let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
        let remedy = "install libdpdk-dev and pkg-config, or build without the feature dpdk";
        let output = Command::new(&program)
            .args(question)
            .arg(format!("libdpdk >= {OLDEST}"))
            .output()
            .with_context(|| format!("cannot run {program}: {remedy}"))?;
        ensure!(
            output.status.success(),
            "DPDK {OLDEST} or newer is not found: {remedy}. {program} says: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let words = String::from_utf8(output.stdout).context("pkg-config's answer")?;
        Ok(words.split_whitespace().map(str::to_owned).collect())
    }

    fn shim(flags: &[String]) -> anyhow::Result<()> {
        let mut build = cc::Build::new();
        build.file("shim/shim.c").warnings(true).extra_warnings(false);
        flags.iter().for_each(|flag| {
            build.flag(flag);
        });
        build.try_compile("qpmux_dpdk_shim").context("the shim does not compile")
    }

    fn bind(flags: &[String]) -> anyhow::Result<()> {
        let bindings = bindgen::Builder::default()
            .header("shim/shim.h")
            .clang_args(flags)
            .allowlist_function(FUNCTIONS)
            .allowlist_var("RTE_PKTMBUF_HEADROOM")
            .default_enum_style(bindgen::EnumVariation::Consts)
            // Structures that are both packed and aligned have no Debug.
            .derive_debug(false)
            .layout_tests(true)
            .generate_comments(false)
            .generate();
        let bindings = match bindings {
            Ok(bindings) => bindings,
            Err(error) => bail!("no bindings: {error} (bindgen needs libclang: libclang-dev)"),
        };
        let folder = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
        bindings.write_to_file(folder.join("bindings.rs")).context("cannot write the bindings")
    }
}
