//! Killers in the settings of a server, in what its user may do, and in the clocks of its replicas.

use redrive::{Broker, Checkup, Finding, FindingCode, Severity};
use redrive_testkit::{Server, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{orders, sound, the};
use crate::SOON;
use crate::rig::Rig;

async fn of_server(rig: &Rig) -> Vec<(FindingCode, Severity)> {
    let found = rig.finds(&Checkup::of_everything()).await;
    found.iter().map(|one| (one.code, one.severity)).collect()
}

#[tokio::test]
async fn a_policy_that_evicts_is_found_as_bad_as_it_is() {
    let rig = sound().await;
    let code = FindingCode::EvictionPolicy;
    for (policy, limit, found) in [
        ("noeviction", "100mb", &[][..]),
        ("allkeys-lru", "100mb", &[(code, Severity::Critical)]),
        ("allkeys-lru", "0", &[(code, Severity::Note)]),
        ("volatile-ttl", "100mb", &[(code, Severity::Note)]),
    ] {
        let _: String = rig
            .ask(&format!("CONFIG SET maxmemory-policy {policy}"))
            .await;
        let _: String = rig.ask(&format!("CONFIG SET maxmemory {limit}")).await;
        assert_eq!(of_server(&rig).await, found, "{policy} {limit}");
    }
}

#[tokio::test]
async fn a_disk_that_forgets_and_a_server_that_hangs_up_are_found() {
    let rig = Rig::start().await;
    let code = FindingCode::AppendOnlyFile;
    assert_eq!(of_server(&rig).await, [(code, Severity::Warning)]);
    let rig = sound().await;
    let _: String = rig.ask("CONFIG SET appendfsync everysec").await;
    assert_eq!(of_server(&rig).await, [(code, Severity::Note)]);
    let _: String = rig.ask("CONFIG SET appendfsync always").await;
    let _: String = rig.ask("CONFIG SET timeout 5").await;
    let code = FindingCode::ClientTimeout;
    assert_eq!(of_server(&rig).await, [(code, Severity::Warning)]);
    let _: String = rig.ask("CONFIG SET timeout 300").await;
    assert_eq!(of_server(&rig).await, []);
}

/// Between a replica and whoever asks it: its clock, ten minutes ahead.
async fn ten_minutes_ahead(replica: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut asks, _)) = listener.accept().await {
            let mut answers = TcpStream::connect(("127.0.0.1", replica)).await.unwrap();
            tokio::spawn(async move {
                let (mut asked, mut told) = ([0; 4_096], [0; 4_096]);
                loop {
                    tokio::select! {
                        read = asks.read(&mut asked) => match read {
                            Ok(read @ 1..) => answers.write_all(&asked[..read]).await.unwrap(),
                            _ => return,
                        },
                        read = answers.read(&mut told) => match read {
                            Ok(read @ 1..) => {
                                let text = String::from_utf8_lossy(&told[..read]).into_owned();
                                asks.write_all(later(&text).as_bytes()).await.unwrap();
                            }
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    port
}

/// The answer to `TIME`, ten minutes and a half on; anything else as it is.
fn later(answer: &str) -> String {
    let Some(rest) = answer.strip_prefix("*2\r\n$10\r\n") else {
        return answer.to_owned();
    };
    let (seconds, rest) = rest.split_at(10);
    let seconds: u64 = seconds.parse().unwrap();
    format!("*2\r\n$10\r\n{}{rest}", seconds + 630)
}

/// Replicas of the server that announce this port, or their own.
async fn replica_of(rig: &Rig, announced: impl AsyncFn(u16) -> u16) -> Server {
    let replica = Server::start().await;
    let mut connection = replica.connect().await;
    let announced = announced(replica.port()).await.to_string();
    for (name, value) in [
        ("replica-announce-ip", "127.0.0.1"),
        ("replica-announce-port", &*announced),
    ] {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg(name).arg(value);
        let _: String = set.query_async(&mut connection).await.unwrap();
    }
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(rig.server.port());
    let _: String = follow.query_async(&mut connection).await.unwrap();
    eventually(SOON, "a replica that is online", async || {
        let info: String = rig.ask("INFO replication").await;
        let online = format!("port={announced},state=online");
        if info.contains(&online) {
            Ok(())
        } else {
            Err(info)
        }
    })
    .await;
    replica
}

#[tokio::test]
async fn a_replica_with_another_clock_is_found_and_one_that_is_silent_is_said() {
    let rig = sound().await;
    let healthy = replica_of(&rig, async |port| port).await;
    assert_eq!(of_server(&rig).await, []);
    let _ahead = replica_of(&rig, ten_minutes_ahead).await;
    let found = rig.finds(&Checkup::of_everything()).await;
    let clock = the(FindingCode::ReplicaClock, &found);
    assert_eq!(clock.severity, Severity::Critical);
    assert!(clock.meaning.contains("10 min ahead"), "{}", clock.meaning);
    healthy.freeze();
    let found = rig.finds(&Checkup::of_everything()).await;
    let silent = the(FindingCode::NotChecked, &found);
    assert!(
        silent.meaning.contains("no answer within 2 s"),
        "{}",
        silent.meaning
    );
    healthy.thaw();
}

async fn asked_by(server: &Server, user: &str) -> Vec<Finding> {
    let url = format!("redis://{user}:secret@127.0.0.1:{}", server.port());
    let broker = Broker::connect(&url).await.unwrap();
    broker.examine(&orders()).await.unwrap()
}

const WORKER: &str = "on >secret ~orders ~orders:dlq ~{orders}:redrive:* ~{orders:dlq}:redrive:* -@all +xadd \
    +xreadgroup +xack +xpending +xrange +xdel +xlen +xinfo +xgroup +hget +hset +hdel +hmget +hkeys +hexists \
    +hincrby +hscan +zadd +zrem +zrange +zrangebyscore +zscore +zmscore +get +set +del +exists +pexpire +pttl +eval \
    +evalsha +time +scan +info +config|get";

#[tokio::test]
async fn a_right_that_a_worker_lacks_is_found_and_what_may_not_be_asked_is_said() {
    let server = Server::builder()
        .appendonly()
        .acl(&format!("whole {WORKER} +xclaim +acl|whoami +acl|dryrun"))
        .acl(&format!("lacking {WORKER} +acl|whoami +acl|dryrun"))
        .acl(&format!("silenced {WORKER} +xclaim -config|get -info"))
        .acl("keyless on >secret ~orders ~orders:dlq +@all -acl|setuser")
        .start()
        .await;
    let rig = Rig::on(server).await;
    let _: String = rig.ask("XADD orders 1-0 n 1").await;
    let _: String = rig.ask("XADD orders:dlq 1-0 n 1").await;
    let _: String = rig.ask("XGROUP CREATE orders billing 0").await;

    assert_eq!(asked_by(&rig.server, "whole").await, []);
    let found = asked_by(&rig.server, "lacking").await;
    let lacks = the(FindingCode::MissingRights, &found);
    assert_eq!(lacks.severity, Severity::Critical);
    let cure = ["redis-cli", "ACL", "SETUSER", "lacking", "+xclaim"];
    assert_eq!(lacks.cure.as_deref().unwrap(), cure);
    let keyless = asked_by(&rig.server, "keyless").await;
    let cure = the(FindingCode::MissingRights, &keyless)
        .cure
        .clone()
        .unwrap();
    assert_eq!(
        cure[4..],
        ["~{orders:dlq}:redrive:*", "~{orders}:redrive:*"]
    );
    let silenced = asked_by(&rig.server, "silenced").await;
    let said: Vec<&str> = silenced.iter().map(|one| one.meaning.as_str()).collect();
    assert!(
        silenced
            .iter()
            .all(|one| one.code == FindingCode::NotChecked),
        "{said:#?}"
    );
    for what in ["maxmemory", "append-only", "time-out", "replicas", "rights"] {
        assert!(
            said.iter().any(|one| one.contains(what)),
            "{what}: {said:#?}"
        );
    }
}
