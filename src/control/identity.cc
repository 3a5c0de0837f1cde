// SPDX-License-Identifier: Apache-2.0
#include "control/identity.h"

#include <array>

namespace remora::control {

core::Result<Identity> load_identity(Store& store, core::Prng& prng) {
    const auto objects = store.load();
    if (!objects) {
        return std::unexpected(objects.error());
    }
    core::Uuid id;
    for (const StoredObject& object : *objects) {
        if (object.kind == Kind::Identity) {
            const auto stored = core::Uuid::parse(object.body);
            if (!stored) {
                return core::fail(core::ErrorKind::DataLoss,
                                  "the stored identity of this host cannot be read");
            }
            id = *stored;
        }
    }
    if (id.is_nil()) {
        id = core::Uuid::random(prng);
        const std::array changes{Change{Change::Action::Put, {Kind::Identity, "host", id.text()}}};
        if (auto kept = store.commit(changes); !kept) {
            return std::unexpected(kept.error());
        }
    }
    return Identity{id, "nqn.2014-08.org.nvmexpress:uuid:" + id.text()};
}

}  // namespace remora::control
