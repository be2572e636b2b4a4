//! Rules about names, boot modules and which cells a channel joins.

use super::{CheckError, each_pair};
use crate::place::{Field, Owner, Place};
use crate::system::{Cell, CellKind, Channel, System};

pub(super) fn check(system: &System) -> Result<(), CheckError> {
    if system.cells.is_empty() {
        return Err(CheckError::NoCells);
    }
    printable(&system.machine.name, Owner::Machine.at(Field::Name))?;
    for (index, cell) in system.cells.iter().enumerate() {
        check_cell(Owner::cell(index, cell), cell)?;
    }
    for (index, channel) in system.channels.iter().enumerate() {
        check_channel(system, Owner::channel(index, channel), channel)?;
    }
    each_pair(system.cells.iter().enumerate(), |&(i, a), &(j, b)| {
        distinct(Owner::cell(i, a), &a.name, Owner::cell(j, b), &b.name)
    })?;
    each_pair(system.channels.iter().enumerate(), |&(i, a), &(j, b)| {
        distinct(Owner::channel(i, a), &a.name, Owner::channel(j, b), &b.name)
    })
}

fn check_cell(owner: Owner, cell: &Cell) -> Result<(), CheckError> {
    name(&cell.name, owner.at(Field::Name))?;
    let image = match cell.kind {
        CellKind::Linux => Field::Kernel,
        CellKind::Elf => Field::Image,
    };
    name(&cell.image, owner.at(image))?;
    if let Some(initrd) = &cell.initrd {
        name(initrd, owner.at(Field::Initrd))?;
    }
    printable(&cell.cmdline, owner.at(Field::CommandLine))
}

fn check_channel(system: &System, owner: Owner, channel: &Channel) -> Result<(), CheckError> {
    name(&channel.name, owner.at(Field::Name))?;
    for (index, field) in [
        (channel.client, Field::Client),
        (channel.server, Field::Server),
    ] {
        if usize::from(index) >= system.cells.len() {
            return Err(CheckError::UnknownCell {
                place: owner.at(field),
                index,
            });
        }
    }
    if channel.client == channel.server {
        let index = usize::from(channel.client);
        let cell = Owner::cell(index, &system.cells[index]);
        return Err(CheckError::ChannelToItself {
            channel: owner,
            cell,
        });
    }
    Ok(())
}

fn name(text: &str, place: Place) -> Result<(), CheckError> {
    if text.is_empty() {
        return Err(CheckError::EmptyText { place });
    }
    printable(text, place)
}

/// Refuses control characters, which would confuse consoles and, as NUL, the binary form.
fn printable(text: &str, place: Place) -> Result<(), CheckError> {
    if text.chars().any(char::is_control) {
        return Err(CheckError::Unprintable { place });
    }
    Ok(())
}

fn distinct(first: Owner, a: &str, second: Owner, b: &str) -> Result<(), CheckError> {
    if a == b {
        Err(CheckError::DuplicateName { first, second })
    } else {
        Ok(())
    }
}
