//! The scripts, each loaded once by its hash. What each takes and returns stands at its head.

use std::sync::LazyLock;

/// A script's text and the hash by which a server that has seen it knows it.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn new(text: &str) -> Self {
        Self {
            hash: redis::Script::new(text).get_hash().to_owned(),
            text: text.to_owned(),
        }
    }

    /// A script that ends or keeps deliveries: it begins with what all of these share.
    fn of_group(text: &str) -> Self {
        Self::new(&format!(
            "{}\n{}\n{text}",
            include_str!("scripts/shared.lua"),
            include_str!("scripts/burial.lua")
        ))
    }

    /// One that judges crashes as well.
    fn of_verdict(text: &str) -> Self {
        Self::of_group(&format!(
            "{}\n{text}",
            include_str!("scripts/quarantine.lua")
        ))
    }

    /// One that puts back what a campaign may have to note.
    fn of_replay(text: &str) -> Self {
        Self::new(&format!("{}\n{text}", include_str!("scripts/enlist.lua")))
    }

    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $kind:ident $file:literal;)*) => {$(
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::$kind(include_str!(concat!("scripts/", $file))));
    )*};
}

scripts! {
    CLAIM = of_verdict "claim.lua";
    BEGIN = of_verdict "begin.lua";
    RENEW = of_verdict "renew.lua";
    PUT_BACK = of_group "put_back.lua";
    DEAD_LETTER = of_group "dead_letter.lua";
    ACK = of_group "ack.lua";
    LIFT = of_group "lift.lua";
    RESOLVE = of_group "resolve.lua";
    MAKE_ROOM = of_group "make_room.lua";
    REPLAY = of_replay "replay.lua";
    REPLAY_RESERVE = new "replay_reserve.lua";
    REPLAY_COMPLETE = of_replay "replay_complete.lua";
    CAMPAIGN_OPEN = new "campaign_open.lua";
    CAMPAIGN_MARK = new "campaign_mark.lua";
    CAMPAIGN_NOTE = new "campaign_note.lua";
    UNDO = new "undo.lua";
    PAGE = new "page.lua";
    WEIGH = new "weigh.lua";
    NAMED = new "named.lua";
    IMPORT = new "import.lua";
    IMPORT_RESERVE = new "import_reserve.lua";
    IMPORT_COMPLETE = new "import_complete.lua";
    PURGE = new "purge.lua";
    STAGE = new "stage.lua";
    SPILL = new "spill.lua";
    TRIM = new "trim.lua";
    REAP = new "reap.lua";
    ALIVE = new "alive.lua";
    CREATE_GROUP = new "create_group.lua";
    DELETE_GROUP = new "delete_group.lua";
    PRUNE = new "prune.lua";
}
