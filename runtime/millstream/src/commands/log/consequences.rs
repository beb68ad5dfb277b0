//! What may be wrong after records of a log are given up, by what the log keeps.

/// Sentences for whoever decides. Only what was the newest of its kind among the lost records matters.
pub fn consequences(log: &str) -> &'static [&'static str] {
    match log.rsplit_once('-').map_or(log, |(topic, _)| topic) {
        "__consumer_offsets" => &[
            "groups go back to older offsets and get records again; a stage processes them again",
            "a group whose only offsets are lost begins where it is told to begin; removed offsets may come back",
            "members that are connected join their groups anew",
        ],
        "__transaction_state" => &[
            "a transaction that is open, or decided and not finished, is aborted",
            "every producer with a transactional id of this partition is fenced once, and gets a new producer id",
        ],
        "__cluster_metadata" => &[
            "a topic whose creation is lost is unknown: its directories are set aside, nothing of them is removed",
            "a topic whose removal is lost is there again, and empty",
            "settings of topics go back to what they were: start the node with log.retention.ms=-1 until you have looked",
            "stages and sources whose only tasks are lost are unknown: their groups are ordinary ones",
        ],
        "__millstream_sources" => {
            &["a source goes back to an older place in its file, and its records come again"]
        }
        _ => &[
            "consumers do not get these records; their offsets stay empty",
            "where the topic is compacted, an older value of a key that was lost comes back, and so may a removed key",
            "a transaction whose end is lost together with its index counts as aborted",
        ],
    }
}
