//! Leadership decisions: what a node that starts must record before it appends anything.

use crate::{image::Image, record::MetadataRecord};

/// The records of a node that starts: its address when that is new or has changed, and, when it leads anything, new
/// leader epochs for all of it (a leader that restarts takes a new epoch before it appends, so that what it wrote in
/// its former life and lost can be told from what it writes now).
pub fn register_node(image: &Image, node_id: i32, host: &str, port: u16) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    let known = image.broker(node_id);
    if known.is_none_or(|broker| broker.host != host || broker.port != port) {
        records.push(MetadataRecord::Broker {
            node_id,
            host: host.to_owned(),
            port,
        });
    }
    let leads = image
        .topics()
        .flat_map(|topic| &topic.partitions)
        .any(|partition| partition.leader == node_id);
    if leads {
        records.push(MetadataRecord::Restart { node_id });
    }
    records
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_node_records_its_address_once_and_its_restart_when_it_leads_something() {
        let address = MetadataRecord::Broker {
            node_id: 1,
            host: "h".to_owned(),
            port: 9,
        };
        let image = Image::default();
        let first = register_node(&image, 1, "h", 9);
        assert_eq!(first.as_slice(), std::slice::from_ref(&address));
        let image = image.with(&[address], 0).unwrap();
        assert_eq!(register_node(&image, 1, "h", 9), []);
        let moved = MetadataRecord::Broker {
            node_id: 1,
            host: "h".to_owned(),
            port: 10,
        };
        assert_eq!(register_node(&image, 1, "h", 10), [moved]);

        let topic_id = Uuid::from_u128(1);
        let partition = MetadataRecord::Partition {
            topic_id,
            index: 0,
            leader: 1,
            leader_epoch: 3,
            replicas: vec![1],
            isr: vec![1],
        };
        let topic = MetadataRecord::Topic {
            name: "a".to_owned(),
            id: topic_id,
            created_by: None,
        };
        let image = image.with(&[topic, partition], 2).unwrap();
        assert_eq!(
            register_node(&image, 1, "h", 9),
            [MetadataRecord::Restart { node_id: 1 }]
        );
        assert_eq!(
            register_node(&image, 2, "h", 9).len(),
            1,
            "node 2 leads nothing"
        );
    }
}
