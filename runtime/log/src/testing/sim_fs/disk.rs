//! The tree of a simulated disk: directories whose entries are durable only when the directory is
//! synced, and the files behind them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::content::Content;
use crate::fs::{DirEntry, Metadata, OpenMode};
use crate::testing::Random;

pub(super) type Inode = u64;
const ROOT: Inode = 0;

type Entries = BTreeMap<String, Inode>;

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Content),
    Dir { seen: Entries, durable: Entries },
}

/// A change of directories that no sync has made durable yet.
#[derive(Debug, Clone)]
enum DirChange {
    Link {
        dir: Inode,
        name: String,
        inode: Inode,
    },
    Unlink {
        dir: Inode,
        name: String,
        inode: Inode,
    },
    Rename {
        from_dir: Inode,
        from: String,
        dir: Inode,
        to: String,
        inode: Inode,
    },
}

impl DirChange {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> Inode {
        match self {
            DirChange::Link { dir, .. }
            | DirChange::Unlink { dir, .. }
            | DirChange::Rename { dir, .. } => *dir,
        }
    }
}

/// Everything on the disk and in the page cache.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    nodes: BTreeMap<Inode, Node>,
    next_inode: Inode,
    changes: Vec<DirChange>,
}

impl Disk {
    pub fn new() -> Disk {
        let root = Node::Dir {
            seen: Entries::new(),
            durable: Entries::new(),
        };
        Disk {
            nodes: BTreeMap::from([(ROOT, root)]),
            next_inode: ROOT + 1,
            changes: Vec::new(),
        }
    }

    pub fn file(&mut self, inode: Inode) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(content)) => Ok(content),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Bytes of all files that have a name.
    pub fn used_bytes(&self) -> u64 {
        let named = self.nodes.values().filter_map(|node| match node {
            Node::Dir { seen, .. } => Some(seen.values()),
            Node::File(_) => None,
        });
        let sizes = named
            .flatten()
            .filter_map(|inode| match self.nodes.get(inode) {
                Some(Node::File(content)) => Some(content.len()),
                _ => None,
            });
        sizes.sum()
    }

    /// Whether a power cut now would change nothing.
    pub fn all_is_durable(&self) -> bool {
        let pending = |node: &Node| matches!(node, Node::File(content) if content.has_pending());
        self.changes.is_empty() && !self.nodes.values().any(pending)
    }

    /// The file's inode, and whether it was made.
    pub fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<(Inode, bool)> {
        let (dir, name) = self.parent(path)?;
        match (self.entries(dir)?.get(&name).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => {
                self.file(inode)?;
                Ok((inode, false))
            }
            (None, OpenMode::Read | OpenMode::ReadWrite | OpenMode::Direct) => {
                Err(io::ErrorKind::NotFound.into())
            }
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let inode = self.link_new(dir, name, Node::File(Content::default()))?;
                Ok((inode, true))
            }
        }
    }

    pub fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut dir = ROOT;
        for name in names(path) {
            dir = match self.entries(dir)?.get(&name).copied() {
                Some(inode) => inode,
                None => {
                    let node = Node::Dir {
                        seen: Entries::new(),
                        durable: Entries::new(),
                    };
                    self.link_new(dir, name, node)?
                }
            };
        }
        self.entries(dir).map(|_| ())
    }

    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let inode = self.lookup(path)?;
        self.file(inode)?;
        self.unlink(dir, name, inode)
    }

    pub fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let inode = self.lookup(path)?;
        for (child, child_inode) in self.entries(inode)?.clone() {
            match self.nodes.get(&child_inode) {
                Some(Node::Dir { .. }) => self.remove_dir_all(&path.join(child))?,
                _ => self.unlink(inode, child, child_inode)?,
            }
        }
        self.unlink(parent, name, inode)
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let inode = self.lookup(from)?;
        if let Ok(replaced) = self.lookup(to)
            && matches!(self.nodes.get(&replaced), Some(Node::Dir { seen, .. }) if !seen.is_empty())
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.entries_mut(from_dir)?.remove(&from_name);
        self.entries_mut(to_dir)?.insert(to_name.clone(), inode);
        self.changes.push(DirChange::Rename {
            from_dir,
            from: from_name,
            dir: to_dir,
            to: to_name,
            inode,
        });
        Ok(())
    }

    pub fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.entries(self.lookup(path)?)?;
        let entries = entries.iter().map(|(name, inode)| {
            let Metadata { is_dir, len, .. } = self.metadata_of(*inode);
            DirEntry {
                name: name.clone(),
                is_dir,
                len,
            }
        });
        Ok(entries.collect())
    }

    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        Ok(self.metadata_of(self.lookup(path)?))
    }

    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.lookup(path)?;
        self.entries(dir)?;
        let (synced, pending) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.dir() == dir);
        self.changes = pending;
        self.make_durable(synced);
        Ok(())
    }

    pub fn sync_all(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.make_durable(changes);
        for node in self.nodes.values_mut() {
            if let Node::File(content) = node {
                content.sync();
            }
        }
    }

    /// What is there after the power was cut: each change of a directory that was not synced is
    /// kept or lost, each sector that was not synced has one of the contents it has had.
    pub fn after_power_cut(mut self, random: &mut Random) -> Disk {
        let changes = std::mem::take(&mut self.changes);
        let kept = changes.into_iter().filter(|_| random.chance(50)).collect();
        self.make_durable(kept);
        let mut after = Disk {
            nodes: BTreeMap::new(),
            next_inode: self.next_inode,
            changes: Vec::new(),
        };
        self.move_reachable(ROOT, &mut after, random);
        after
    }

    fn move_reachable(&mut self, inode: Inode, after: &mut Disk, random: &mut Random) {
        match self.nodes.remove(&inode) {
            Some(Node::File(content)) => {
                after
                    .nodes
                    .insert(inode, Node::File(content.after_power_cut(random)));
            }
            Some(Node::Dir { durable, .. }) => {
                for child in durable.values() {
                    self.move_reachable(*child, after, random);
                }
                after.nodes.insert(
                    inode,
                    Node::Dir {
                        seen: durable.clone(),
                        durable,
                    },
                );
            }
            None => {}
        }
    }

    fn make_durable(&mut self, changes: Vec<DirChange>) {
        for change in changes {
            match change {
                DirChange::Link { dir, name, inode } => {
                    self.durable(dir).insert(name, inode);
                }
                DirChange::Unlink { dir, name, inode } => {
                    if self.durable(dir).get(&name) == Some(&inode) {
                        self.durable(dir).remove(&name);
                    }
                }
                DirChange::Rename {
                    from_dir,
                    from,
                    dir,
                    to,
                    inode,
                } => {
                    if self.durable(from_dir).get(&from) == Some(&inode) {
                        self.durable(from_dir).remove(&from);
                    }
                    self.durable(dir).insert(to, inode);
                }
            }
        }
    }

    fn link_new(&mut self, dir: Inode, name: String, node: Node) -> io::Result<Inode> {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.entries_mut(dir)?.insert(name.clone(), inode);
        self.nodes.insert(inode, node);
        self.changes.push(DirChange::Link { dir, name, inode });
        Ok(inode)
    }

    fn unlink(&mut self, dir: Inode, name: String, inode: Inode) -> io::Result<()> {
        self.entries_mut(dir)?.remove(&name);
        self.changes.push(DirChange::Unlink { dir, name, inode });
        Ok(())
    }

    fn metadata_of(&self, inode: Inode) -> Metadata {
        match self.nodes.get(&inode) {
            Some(Node::File(content)) => Metadata {
                is_dir: false,
                len: content.len(),
                modified_ms: content.modified_ms,
            },
            _ => Metadata {
                is_dir: true,
                len: 0,
                modified_ms: 0,
            },
        }
    }

    fn lookup(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for name in names(path) {
            inode = *self
                .entries(inode)?
                .get(&name)
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    /// The directory above a path, and the path's last part.
    fn parent(&self, path: &Path) -> io::Result<(Inode, String)> {
        let name = names(path).last().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        let dir = self.lookup(dir)?;
        self.entries(dir)?;
        Ok((dir, name))
    }

    fn entries(&self, dir: Inode) -> io::Result<&Entries> {
        match self.nodes.get(&dir) {
            Some(Node::Dir { seen, .. }) => Ok(seen),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn entries_mut(&mut self, dir: Inode) -> io::Result<&mut Entries> {
        match self.nodes.get_mut(&dir) {
            Some(Node::Dir { seen, .. }) => Ok(seen),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn durable(&mut self, dir: Inode) -> &mut Entries {
        match self.nodes.get_mut(&dir) {
            Some(Node::Dir { durable, .. }) => durable,
            _ => panic!("inode {dir} is not a directory"),
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = String> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}
