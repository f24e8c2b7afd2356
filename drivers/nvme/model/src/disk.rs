//! What the namespaces hold: computed content, and what was changed since.

use crate::namespace::Namespace;

/// A change of a range of blocks.
#[derive(Clone, Debug)]
struct Change {
    nsid: u32,
    first_block: u64,
    blocks: u64,
    /// The blocks' content; `None` for zeroes.
    data: Option<Vec<u8>>,
}

/// The medium. Changes are kept in their order, so that namespaces can be of any size.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    changes: Vec<Change>,
}

impl Disk {
    /// Overwrites blocks.
    pub fn write(&mut self, namespace: &Namespace, first_block: u64, data: Vec<u8>) {
        let blocks = data.len() as u64 >> namespace.block_shift;
        self.changes.push(Change { nsid: namespace.nsid, first_block, blocks, data: Some(data) });
    }

    /// Makes blocks read as zeroes.
    pub fn zero(&mut self, namespace: &Namespace, first_block: u64, blocks: u64) {
        self.changes.push(Change { nsid: namespace.nsid, first_block, blocks, data: None });
    }

    /// What blocks hold.
    pub fn read(&self, namespace: &Namespace, first_block: u64, blocks: u64) -> Vec<u8> {
        let mut content = namespace.content(first_block, blocks);
        let shift = namespace.block_shift;
        for change in self.changes.iter().filter(|change| change.nsid == namespace.nsid) {
            let first = first_block.max(change.first_block);
            let end = (first_block + blocks).min(change.first_block + change.blocks);
            if first >= end {
                continue;
            }
            let place = ((first - first_block) << shift) as usize..((end - first_block) << shift) as usize;
            match &change.data {
                None => content[place].fill(0),
                Some(data) => {
                    let from = ((first - change.first_block) << shift) as usize;
                    let bytes = place.len();
                    content[place].copy_from_slice(&data[from..from + bytes]);
                }
            }
        }
        content
    }

    /// Whether nothing of a namespace outside these ranges of blocks (first, end) was changed.
    pub fn is_unchanged_outside(&self, nsid: u32, ranges: &[(u64, u64)]) -> bool {
        self.changes.iter().filter(|change| change.nsid == nsid).all(|change| {
            let (first, end) = (change.first_block, change.first_block + change.blocks);
            ranges.iter().any(|(inside, until)| *inside <= first && end <= *until)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_a_block_counts() {
        let namespace = Namespace::new(1, 100, 9);
        let mut disk = Disk::default();
        disk.write(&namespace, 10, vec![1; 4 * 512]);
        disk.zero(&namespace, 11, 2);
        disk.write(&namespace, 12, vec![2; 512]);
        let expected = [namespace.content(9, 1), vec![1; 512], vec![0; 512], vec![2; 512], vec![1; 512]].concat();
        assert!(disk.read(&namespace, 9, 5) == expected);
        assert!(disk.read(&Namespace::new(2, 100, 9), 9, 5) == Namespace::new(2, 100, 9).content(9, 5));
        assert!(disk.is_unchanged_outside(1, &[(10, 14)]) && !disk.is_unchanged_outside(1, &[(10, 13)]));
    }
}
