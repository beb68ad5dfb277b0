use super::*;

const ROWS_OF_TEXT: &str = "\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z
2013,1,1,848,1835,853,1001,1950,851,MQ,3944,N942MQ,JFK,BWI,41,184,18,35,2013-01-01T23:00:00Z
2013,1,1,1525,1530,-5,1934,1805,NA,MQ,4525,N719MQ,LGA,XNA,NA,1147,15,30,2013-01-01T20:00:00Z
2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z
2013,1,2,NA,1630,-2,2000,1815,60,EV,4308,NA,EWR,RDU,NA,416,16,30,2013-01-02T21:00:00Z
";

const ALL: [&str; 5] = [SOURCE, CLEAN, LATE, ONTIME, DEAD];

fn values(records: &[Record], topic: &str) -> Vec<String> {
    let of_topic = records.iter().filter(|record| record.topic == topic);
    of_topic
        .map(|record| String::from_utf8(record.value.clone().unwrap()).unwrap())
        .collect()
}

#[test]
fn rows_go_where_their_delay_sends_them() {
    let records = expected_from(ROWS_OF_TEXT.as_bytes(), &ALL).unwrap();
    assert_eq!(
        values(&records, ONTIME),
        [
            r#"{"time":"2013-01-01T10:00:00Z","carrier":"UA","flight":1545,"tailnum":"N14228","origin":"EWR","dest":"IAH","dep_delay":2,"arr_delay":11,"distance":1400}"#,
            r#"{"time":"2013-01-02T21:00:00Z","carrier":"EV","flight":4308,"origin":"EWR","dest":"RDU","dep_delay":-2,"arr_delay":60,"distance":416}"#,
        ]
    );
    assert_eq!(
        values(&records, LATE),
        [
            r#"{"time":"2013-01-01T23:00:00Z","carrier":"MQ","flight":3944,"tailnum":"N942MQ","origin":"JFK","dest":"BWI","dep_delay":853,"arr_delay":851,"distance":184}"#
        ]
    );
    assert_eq!(
        values(&records, DEAD)[1],
        r#"{"year":"2013","month":"1","day":"1","dep_time":"NA","sched_dep_time":"1630","dep_delay":"NA","arr_time":"NA","sched_arr_time":"1815","arr_delay":"NA","carrier":"EV","flight":"4308","tailnum":"N18120","origin":"EWR","dest":"RDU","air_time":"NA","distance":"416","hour":"16","minute":"30","time_hour":"2013-01-01T21:00:00Z"}"#
    );
    let reasons: Vec<_> = records
        .iter()
        .filter_map(|record| record.header("millstream.dead.message"))
        .collect();
    assert_eq!(reasons, [&b"no arr_delay"[..], b"no dep_delay"]);
    assert_eq!(values(&records, SOURCE).len(), 5);
    assert_eq!(values(&records, SOURCE)[2..4], values(&records, DEAD)[..]);
    let mut both = [values(&records, ONTIME), values(&records, LATE)].concat();
    both.sort();
    let mut clean = values(&records, CLEAN);
    clean.sort();
    assert_eq!(clean, both);
    for record in &records {
        assert_eq!(
            record.partition,
            partition_for_key(record.key.as_deref().unwrap(), 4)
        );
    }
    assert_eq!(records[0].key.as_deref(), Some(&b"IAH"[..]));
    assert_eq!(records[0].timestamp, 1_357_034_400_000);
}

#[test]
fn only_the_topics_asked_for_are_made() {
    let records = expected_from(ROWS_OF_TEXT.as_bytes(), &[DEAD]).unwrap();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record.topic == DEAD));
}

#[test]
fn rows_that_cannot_be_typed_are_errors() {
    for (from, to) in [
        ("1545", "15x"),
        ("1400", ""),
        ("N14228", "N\\"),
        ("2013-01-01T10:00:00Z", "2013-01-01 10:00"),
        (",dest,", ",to,"),
    ] {
        let text = ROWS_OF_TEXT.replacen(from, to, 1);
        assert!(expected_from(text.as_bytes(), &ALL).is_err(), "{to}");
    }
}

#[test]
fn times_are_counted_in_milliseconds() {
    let cases = [
        ("1970-01-01T00:00:00Z", 0),
        ("1999-12-31T23:59:59Z", 946_684_799_000),
        ("2000-03-01T00:00:00Z", 951_868_800_000),
        ("2013-01-01T10:00:00Z", 1_357_034_400_000),
        ("2024-02-29T12:30:15Z", 1_709_209_815_000),
    ];
    for (text, expected) in cases {
        assert_eq!(milliseconds(text).unwrap(), expected, "{text}");
    }
    assert!(milliseconds("2013-01-01T10:00:00+01:00").is_err());
}

#[test]
fn the_examples_file_has_the_counts_that_it_is_known_for() {
    let csv = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/01-flights/data/flights.csv.zst");
    let mut counts = std::collections::BTreeMap::new();
    let records = expected(&csv).unwrap();
    for record in &records {
        *counts.entry(record.topic.as_str()).or_insert(0_usize) += 1;
    }
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [(DEAD, DEAD_ROWS), (LATE, LATE_ROWS), (ONTIME, ONTIME_ROWS)]
    );
    assert_eq!(records.len(), ROWS);
    // Every partition gets its share, so a run on this file exercises them all.
    for partition in 0..PARTITIONS {
        let share = records
            .iter()
            .filter(|record| record.partition == partition)
            .count();
        assert!(share > ROWS / 10, "partition {partition} gets {share}");
    }
}
