//! Rules about doorbells.

use super::CheckError;
use crate::place::{Field, Owner};
use crate::system::{ALL_USER_VECTORS, Doorbell, System};

pub(super) fn check(system: &System) -> Result<(), CheckError> {
    for (index, cell) in system.cells.iter().enumerate() {
        let mut channels = system
            .channels
            .iter()
            .enumerate()
            .filter(|(_, channel)| channel.joins(index));
        let Some((first_index, first)) = channels.next() else {
            continue;
        };
        // A cell that may ring one neighbour unchecked may ring everybody: filtering its other channels is pretence.
        if let Some((second_index, second)) =
            channels.find(|(_, channel)| channel.doorbell != first.doorbell)
        {
            return Err(CheckError::DoorbellsMixed {
                cell: Owner::cell(index, cell),
                first: Owner::channel(first_index, first),
                second: Owner::channel(second_index, second),
            });
        }
    }
    for (index, channel) in system.channels.iter().enumerate() {
        for (vectors, field) in [
            (channel.client_vectors, Field::ClientVectors),
            (channel.server_vectors, Field::ServerVectors),
        ] {
            if channel.doorbell == Doorbell::Direct && vectors != ALL_USER_VECTORS {
                return Err(CheckError::VectorsNotFiltered {
                    place: Owner::channel(index, channel).at(field),
                });
            }
        }
    }
    Ok(())
}
