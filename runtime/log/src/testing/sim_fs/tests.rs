use proptest::prelude::*;

use super::*;

fn fs_with_file(bytes: &[u8]) -> (SimFs, Arc<dyn File>) {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new("/d")).unwrap();
    let file = fs.open(Path::new("/d/f"), OpenMode::CreateNew).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    (fs, file)
}

fn read(fs: &SimFs, path: &str) -> Option<Vec<u8>> {
    fs.read(Path::new(path), 1 << 20).ok()
}

/// The different results over many seeds.
fn outcomes<T: Ord>(fs: &SimFs, look: impl Fn(&SimFs) -> T) -> BTreeSet<T> {
    (0..200).map(|seed| look(&fs.power_cut(seed))).collect()
}

#[test]
fn what_was_synced_survives_and_a_name_only_with_its_directory() {
    let (fs, _file) = fs_with_file(&[7; 3000]);
    let after = outcomes(&fs, |fs| read(fs, "/d/f"));
    assert_eq!(after, BTreeSet::from([Some(vec![7; 3000])]));

    let (fs, _file) = fs_with_file(b"x");
    let other = fs.open(Path::new("/d/g"), OpenMode::CreateNew).unwrap();
    other.write_at(b"y", 0).unwrap();
    other.sync_all().unwrap();
    let after = outcomes(&fs, |fs| read(fs, "/d/g"));
    assert_eq!(after, BTreeSet::from([None, Some(b"y".to_vec())]));
}

#[test]
fn a_later_write_may_survive_an_earlier_one() {
    let (fs, file) = fs_with_file(&[0; 1024]);
    file.write_at(&[1; 512], 0).unwrap();
    file.write_at(&[2; 512], 512).unwrap();
    let after = outcomes(&fs, |fs| {
        let bytes = read(fs, "/d/f").unwrap();
        (bytes[0], bytes[511], bytes[512], bytes[1023])
    });
    let expected = [(0, 0, 0, 0), (0, 0, 2, 2), (1, 1, 0, 0), (1, 1, 2, 2)];
    assert_eq!(
        after,
        BTreeSet::from(expected),
        "sectors are whole, and independent"
    );
}

#[test]
fn any_unsynced_length_may_survive() {
    let (fs, file) = fs_with_file(b"ab");
    file.write_at(b"cd", 2).unwrap();
    file.set_len(1).unwrap();
    let after = outcomes(&fs, |fs| read(fs, "/d/f").unwrap().len());
    assert_eq!(after, BTreeSet::from([1, 2, 4]));
    file.sync_data().unwrap_err();
}

#[test]
fn a_rename_is_atomic() {
    let (fs, _file) = fs_with_file(b"old");
    let new = fs.open(Path::new("/d/f.tmp"), OpenMode::CreateNew).unwrap();
    new.write_at(b"new", 0).unwrap();
    new.sync_all().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.rename(Path::new("/d/f.tmp"), Path::new("/d/f")).unwrap();
    assert_eq!(read(&fs, "/d/f").unwrap(), b"new");
    let after = outcomes(&fs, |fs| (read(fs, "/d/f").unwrap(), read(fs, "/d/f.tmp")));
    let renamed = (b"new".to_vec(), None);
    let not_renamed = (b"old".to_vec(), Some(b"new".to_vec()));
    assert_eq!(after, BTreeSet::from([renamed, not_renamed]));
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_is_synced() {
    let (fs, _file) = fs_with_file(b"x");
    fs.remove_file(Path::new("/d/f")).unwrap();
    assert_eq!(read(&fs, "/d/f"), None);
    let killed = fs.kill(0);
    assert_eq!(outcomes(&killed, |fs| read(fs, "/d/f").is_some()).len(), 2);
    let (fs, _file) = fs_with_file(b"x");
    fs.remove_file(Path::new("/d/f")).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(
        outcomes(&fs, |fs| read(fs, "/d/f").is_some()),
        BTreeSet::from([false])
    );
}

#[test]
fn after_a_failed_sync_the_bytes_are_seen_and_a_second_sync_does_not_save_them() {
    let (fs, file) = fs_with_file(&[0; 5120]);
    file.write_at(&[1; 5120], 0).unwrap();
    let fault = Fault {
        call: FaultyCall::Sync,
        path_contains: "/f".into(),
        nth: 1,
        kind: io::ErrorKind::Other,
    };
    fs.inject(fault);
    assert!(file.sync_data().is_err());
    assert_eq!(read(&fs, "/d/f").unwrap(), [1; 5120]);
    file.sync_data().unwrap();
    let after = read(&fs.power_cut(0), "/d/f").unwrap();
    assert_ne!(after, [1; 5120]);
}

#[test]
fn what_a_failed_sync_lost_is_saved_by_writing_it_again() {
    for seed in 0..20 {
        let (fs, file) = fs_with_file(&[0; 700]);
        file.write_at(&[1; 2000], 700).unwrap();
        fs.inject(Fault {
            call: FaultyCall::Sync,
            path_contains: "/f".into(),
            nth: 1,
            kind: io::ErrorKind::Other,
        });
        assert!(file.sync_data().is_err());
        // The same bytes again, within the length that programs see.
        file.write_at(&[1; 1500], 700).unwrap();
        file.sync_data().unwrap();
        let after = read(&fs.power_cut(seed), "/d/f").unwrap();
        assert!(after.len() >= 2200, "seed {seed}: {}", after.len());
        assert_eq!(after[700..2200], [1; 1500], "seed {seed}");
    }
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (fs, file) = fs_with_file(&[1; 100]);
    fs.set_capacity(Some(110));
    assert_eq!(
        file.write_at(&[2; 50], 90).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(
        read(&fs, "/d/f").unwrap(),
        [[1; 90].as_slice(), &[2; 20]].concat()
    );
    assert!(file.allocate(111).is_err());
    file.write_at(&[3; 100], 0).unwrap();
    fs.set_capacity(None);
    file.write_at(&[2; 50], 90).unwrap();
}

#[test]
fn when_the_power_is_off_nothing_works() {
    let (fs, file) = fs_with_file(b"x");
    fs.cut_power_after(1);
    file.write_at(b"y", 0).unwrap();
    assert!(file.sync_data().is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(fs.open(Path::new("/d/f"), OpenMode::Read).is_err());
}

proptest! {
    /// The simulated file and a plain vector agree on what a program sees.
    #[test]
    fn a_file_reads_as_it_was_written(steps in prop::collection::vec((0..3_u8, 0..3000_u64, 1..2000_usize, any::<u8>()), 1..30)) {
        let (fs, file) = fs_with_file(b"");
        let mut model: Vec<u8> = Vec::new();
        for (kind, offset, count, byte) in steps {
            let at = offset as usize;
            match kind {
                0 => {
                    file.write_at(&vec![byte; count], offset).unwrap();
                    model.resize(model.len().max(at + count), 0);
                    model[at..at + count].fill(byte);
                }
                1 => {
                    file.set_len(offset).unwrap();
                    model.resize(at, 0);
                }
                _ => file.sync_data().unwrap(),
            }
            prop_assert_eq!(&read(&fs, "/d/f").unwrap(), &model);
        }
        file.sync_data().unwrap();
        prop_assert_eq!(read(&fs.power_cut(9), "/d/f").unwrap(), model);
    }

    /// The same seed gives the same disk.
    #[test]
    fn a_power_cut_is_the_same_for_the_same_seed(seed in any::<u64>()) {
        let (fs, file) = fs_with_file(&[1; 4096]);
        file.write_at(&[2; 4096], 100).unwrap();
        prop_assert_eq!(read(&fs.power_cut(seed), "/d/f"), read(&fs.power_cut(seed), "/d/f"));
    }
}
