//! Payloads that are meant to cost: they are shown safely, and memory stays near what has to be read.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::rig::Rig;

const MIB: usize = 1 << 20;

/// Runs a command and tells the most memory that it had, in KiB. Of a process of its own: what is
/// told of a child is no less than what its parent had when it was started.
const MEASURE: &str = "import resource,subprocess,sys\n\
    run=subprocess.run(sys.argv[2:],stdout=open(sys.argv[1],'wb'))\n\
    print(run.returncode,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

/// What it said, and its peak in bytes.
async fn measured(rig: &Rig, args: &[&str]) -> (Vec<u8>, usize) {
    let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", MEASURE]).arg(file.path());
    command.arg(env!("CARGO_BIN_EXE_redrive")).args(args);
    command
        .env("REDRIVE_URL", rig.url_for(args))
        .stderr(Stdio::piped());
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    let output = command.output().await;
    let output = output.unwrap_or_else(|error| panic!("this test needs python3: {error}"));
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let (code, peak) = said
        .trim()
        .split_once(' ')
        .unwrap_or_else(|| panic!("{said}{errors}"));
    assert_eq!(code, "0", "{args:?}: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    let peak = peak.parse::<usize>().unwrap() * 1024;
    (std::fs::read(file.path()).unwrap(), peak)
}

/// What has to be read is held twice: by the connection, and as the value. Decoding adds next to
/// nothing to that, whatever it is or unpacks to. What a process has that shows next to nothing depends on the
/// system: it is measured right before.
#[track_caller]
fn assert_flat(what: &str, payload: usize, peak: usize, idle: usize) {
    let most = idle + 2 * payload + 12 * MIB;
    assert!(
        peak < most,
        "{what}: {} MiB for {} MiB, {} MiB for nothing",
        peak / MIB,
        payload / MIB,
        idle / MIB
    );
}

fn message_pack(items: usize) -> Vec<u8> {
    let mut bytes = vec![0xdd];
    bytes.extend(u32::try_from(items).unwrap().to_be_bytes());
    bytes.resize(5 + items, 0);
    bytes
}

fn cbor(items: usize) -> Vec<u8> {
    let mut bytes = message_pack(items);
    bytes[0] = 0x9a;
    bytes
}

fn json(items: usize) -> Vec<u8> {
    format!("[0{}]", ",0".repeat(items - 1)).into_bytes()
}

/// `[0,0,…]` of 256 MiB in gzip, made of members of 1 MiB.
fn gzip_bomb(begin: &[u8], item: &[u8]) -> Vec<u8> {
    let script = "import gzip,sys\n\
        begin,item=map(bytes.fromhex,sys.argv[1:])\n\
        out=sys.stdout.buffer\n\
        out.write(gzip.compress(begin))\n\
        part=gzip.compress(item*(1048576//len(item)))\n\
        for n in range(256): out.write(part)";
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let output = std::process::Command::new("python3")
        .args(["-c", script, &hex(begin), &hex(item)])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The same in zstd: a raw block, then blocks of one byte that is repeated 128 Ki times.
fn zstd_bomb(begin: &[u8], item: u8) -> Vec<u8> {
    // A window of 8 MiB, no size, no checksum.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3];
    let mut block = |size: usize, kind: u32, last: u32, content: &[u8]| {
        let head = (u32::try_from(size).unwrap() << 3) | (kind << 1) | last;
        bytes.extend(&head.to_le_bytes()[..3]);
        bytes.extend(content);
    };
    block(begin.len(), 0, 0, begin);
    for n in 0..2_048 {
        block(128 << 10, 1, u32::from(n == 2_047), &[item]);
    }
    bytes
}

async fn dies(rig: &Rig, payload: &[u8]) {
    let _: u64 = rig.ask(&["DEL", "orders:dlq"]).await;
    rig.dies("orders:dlq", "1-0", &[b"data", payload], &[])
        .await;
}

/// Shown in every form; the table within the bound.
async fn is_shown(rig: &Rig, what: &str, payload: &[u8], codec: &str) {
    dies(rig, b"1").await;
    let (_, idle) = measured(rig, &["dlq", "show", "1-0", "orders"]).await;
    dies(rig, payload).await;
    let (told, peak) = measured(rig, &["dlq", "show", "1-0", "orders"]).await;
    assert_flat(what, payload.len(), peak, idle);
    let told = String::from_utf8(told).unwrap();
    assert!(
        told.contains(&format!("\npayload ({codec})\n")),
        "{what}: {told:.2000}"
    );
    assert!(told.len() < 200 << 10, "{what}: {} bytes", told.len());
    assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{what}");
    let (listed, peak) = measured(rig, &["dlq", "list", "orders"]).await;
    // The count behind it reads a page once more.
    assert_flat(what, payload.len() * 3 / 2, peak, idle);
    assert!(listed.len() < 2_000, "{what}");
}

#[tokio::test]
async fn what_is_large_or_claims_to_be_is_shown_in_little_more_memory_than_it_takes_to_read() {
    let rig = Rig::start().await;
    let claims = b"\xdd\xff\xff\xff\xff\x00\x00";
    is_shown(&rig, "four billion items", claims, "raw").await;
    let claims = b"\xdf\xff\xff\xff\xff\xa1a\x00";
    is_shown(&rig, "four billion pairs", claims, "raw").await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}0{}", open.repeat(10_000), close.repeat(10_000));
        is_shown(&rig, "10,000 levels of JSON", deep.as_bytes(), "text").await;
    }
    for byte in [0x91, 0x81] {
        let mut deep = vec![byte; 10_000];
        deep.push(0);
        is_shown(&rig, "10,000 levels of a binary codec", &deep, "raw").await;
    }
    is_shown(
        &rig,
        "64 MiB of text",
        "é".repeat(32 * MIB).as_bytes(),
        "text",
    )
    .await;
    is_shown(&rig, "64 MiB of bytes", &vec![0xc1; 64 * MIB], "raw").await;
}

#[tokio::test]
async fn sixteen_megabytes_of_json_zeros_are_shown_in_little_more_memory_than_it_takes_to_read() {
    let rig = Rig::start().await;
    is_shown(&rig, "JSON", &json(8 * MIB), "json").await;
}

#[tokio::test]
async fn sixteen_megabytes_of_packed_zeros_are_shown_in_little_more_memory_than_it_takes_to_read() {
    let rig = Rig::start().await;
    is_shown(&rig, "MessagePack", &message_pack(16 * MIB), "msgpack").await;
}

#[tokio::test]
async fn sixteen_megabytes_of_cbor_zeros_are_shown_in_little_more_memory_than_it_takes_to_read() {
    let rig = Rig::start().await;
    is_shown(&rig, "CBOR", &cbor(16 * MIB), "cbor").await;
}

/// 256 MiB of `[0,0,…]` in a few hundred KiB. Of a look only 1 MiB is unpacked; as JSON it is told
/// that it is too large.
#[tokio::test]
async fn bombs_do_not_go_off() {
    let rig = Rig::start().await;
    let (packed, bound) = (message_pack(0), cbor(0));
    let claimed = |head: &[u8]| [&head[..1], &(256 * 1024 * 1024_u32).to_be_bytes()].concat();
    for (what, bomb, codec) in [
        ("gzip+json", gzip_bomb(b"[0", b",0"), "gzip+json"),
        (
            "gzip+msgpack",
            gzip_bomb(&claimed(&packed), b"\0"),
            "gzip+msgpack",
        ),
        ("gzip+cbor", gzip_bomb(&claimed(&bound), b"\0"), "gzip+cbor"),
        ("zstd+json", zstd_bomb(b"[0", b' '), "zstd+json"),
        (
            "zstd+msgpack",
            zstd_bomb(&claimed(&packed), 0),
            "zstd+msgpack",
        ),
        ("zstd+cbor", zstd_bomb(&claimed(&bound), 0), "zstd+cbor"),
    ] {
        is_shown(&rig, what, &bomb, codec).await;
    }
    let (told, peak) = measured(&rig, &["dlq", "show", "1-0", "orders", "-o", "json"]).await;
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        (&told["payload"], &told["codec"]),
        (&Value::Null, &Value::Null)
    );
    assert!(peak < 200 * MIB, "{} MiB", peak / MIB);
}
