// SPDX-License-Identifier: Apache-2.0
// open_object(): how a call that changes something that exists begins: the object that the client
// names, with its lock and those of what it is about, as it is once they are held.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control/context.h"
#include "control/references.h"

namespace remora::control {

template <typename M>
struct Opened {
    LockTable::Held held;
    Object<M> object;
};

/// `more(object)` gives the keys of other locks, of the object as it was before the wait. Errors:
/// those of lookup(); NotFound when it was deleted meanwhile, also where another of its name is
/// there by now; DeadlineExceeded.
template <typename M, typename More>
reactor::Task<core::Result<Opened<M>>> open_object(Context& context,
                                                   std::string raw_name,
                                                   More more) {
    const auto first = lookup<M>(context.model, raw_name);
    if (!first) {
        co_return std::unexpected(first.error());
    }
    const Object<M> seen = **first;
    std::vector<std::string> keys = more(seen);
    keys.push_back(lock_key<M>(seen.resource.name()));
    auto held = co_await context.lock(std::move(keys));
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = context.model.find_same(seen);
    if (found == nullptr) {
        co_return core::fail(core::ErrorKind::NotFound,
                             seen.resource.name() + " was deleted meanwhile");
    }
    co_return Opened<M>{std::move(*held), *found};
}

/// With the object's own lock alone.
template <typename M>
std::vector<std::string> no_more_locks(const Object<M>& /*object*/) {
    return {};
}

/// With that of the data plane's volume that it is about.
template <typename M>
std::vector<std::string> volume_lock(const Object<M>& object) {
    return {lock_of_volume(object.known.volume())};
}

}  // namespace remora::control
