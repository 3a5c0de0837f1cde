// SPDX-License-Identifier: Apache-2.0
// Context: what every part of the control plane works with, and the few helpers they share.
//
// The control plane is single-threaded: its parts are coroutines on the control reactor. A call
// that changes something first takes the locks of what it touches, then looks, then acts on the
// data plane, then commits, then answers; if a step fails it undoes the ones before.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "control/lock_table.h"
#include "control/model.h"
#include "control/seal_keys.h"
#include "control/validate.h"
#include "core/prng.h"
#include "core/units.h"
#include "node/node.h"
#include "platform/host_platform.h"
#include "reactor/reactor.h"

namespace remora::control {

struct Options {
    std::string socket_directory;   ///< Where vhost-user sockets are made.
    std::string version = "0.1.0";  ///< What GetStatus says.
    std::uint32_t reactors = 1;     ///< Also the default number of queues of a disk.
    core::Nanos lock_limit{std::chrono::seconds(60)};      ///< Wait for another call at most.
    core::Nanos discovery_limit{std::chrono::seconds(5)};  ///< Discovery and Connect each.
    core::Nanos connect_limit{std::chrono::seconds(8)};
    core::Nanos find_limit{std::chrono::seconds(20)};  ///< To find a volume, of all subsystems.
    /// For what a killed predecessor still holds, at a start.
    core::Nanos takeover_limit{std::chrono::seconds(5)};
    core::Nanos reconcile_pause{std::chrono::seconds(1)};  ///< Between looks at the host.
    SealKeys* seal_keys = nullptr;  ///< Outlives the plane; without, nothing can be encrypted.
    /// NVMe functions of the host offer MSI-X, not one MSI and INTx.
    bool nvme_msix = false;
    std::string crypt_kernel;  ///< What volumes are encrypted by; empty: nothing can be.
};

/// Why a stored volume is not in the data plane.
struct Unbuilt {
    const char* reason = "";  ///< One word, for conditions.
    std::string message;
};

struct Context {
    Context(Store& store,
            node::Node& node_in,
            platform::HostPlatform& host_in,
            core::Prng prng_in,
            Options options_in)
        : model(store),
          node(node_in),
          host(host_in),
          prng(prng_in),
          options(std::move(options_in)) {}

    Model model;
    LockTable locks;
    node::Node& node;
    platform::HostPlatform& host;
    core::Prng prng;
    Options options;
    /// Where the host sees each plugged function, as last heard from the platform.
    std::map<core::HostFunction, std::string> pci_addresses;
    /// Functions that the host has, with nobody behind their socket: they are dead until they are
    /// plugged anew, as QEMU does not come back to a vfio-user socket.
    std::set<core::HostFunction> lost_functions;
    /// Layers (the data plane's names) that could not be built yet.
    std::map<std::string, Unbuilt> unbuilt;
    /// Volumes (the data plane's names) that a benchmark is writing to.
    std::multiset<std::string> overwritten;
    /// Listeners, namespaces and host disks that could not be served at the start, by name, and why
    /// not: the reconciler goes on trying.
    std::map<std::string, std::string, std::less<>> unserved;
    /// Something was left half done or may be left on the host: the reconciler looks again.
    bool unfinished = false;

    /// Takes the locks of a mutating call.
    reactor::Task<core::Result<LockTable::Held>> lock(std::vector<std::string> keys) {
        const core::Nanos deadline = reactor::Reactor::current().now() + options.lock_limit;
        co_return co_await locks.take(std::move(keys), deadline);
    }
};

/// The lock of a named object: kinds have separate name spaces.
template <typename M>
std::string lock_key(const std::string& name) {
    return std::string(store_text(KindTraits<M>::kKind)) + ":" + name;
}
inline std::string function_key(core::HostFunction function) {
    return "host function " + function.text();
}
inline std::string uuid_key(const core::Uuid& uuid) {
    return "volume " + uuid.text();
}

/// The object a client names in `field`. Errors: InvalidArgument for the name's form, NotFound.
template <typename M>
core::Result<const Object<M>*> lookup(const Model& model,
                                      const std::string& raw,
                                      std::string_view field = "name") {
    if (auto checked = check_name(field, raw); !checked) {
        return std::unexpected(checked.error());
    }
    const std::string name = canonical_name(KindTraits<M>::kCollection, raw);
    const Object<M>* object = model.find<M>(name);
    if (object == nullptr) {
        return core::fail(core::ErrorKind::NotFound,
                          "there is no " + std::string(KindTraits<M>::kNoun) + " named " + name);
    }
    return object;
}

/// What a Get call answers, where it is what is stored. Errors: those of check_required() and
/// lookup().
template <typename M, typename Request>
core::Result<M> get_resource(const Model& model, const Request& request) {
    if (auto complete = check_required(request); !complete) {
        return std::unexpected(complete.error());
    }
    const auto found = lookup<M>(model, request.name());
    if (!found) {
        return std::unexpected(found.error());
    }
    return (*found)->resource;
}

/// One page of a table into the response: `add(object)` for each object whose name begins with
/// `prefix`. Returns the next page's token, empty at the end. A token holds for one prefix.
template <typename M, typename Add>
core::Result<std::string> list_page(const Model& model,
                                    std::int32_t page_size,
                                    const std::string& token,
                                    const std::string& prefix,
                                    Add add) {
    const std::string list = list_of(store_text(KindTraits<M>::kKind), prefix);
    const auto page = read_page(list, page_size, token);
    if (!page) {
        return std::unexpected(page.error());
    }
    const Table<M>& table = model.table<M>();
    std::size_t taken = 0;
    std::string last;
    for (auto at = table.upper_bound(page->after); at != table.end(); ++at) {
        if (!at->first.starts_with(prefix)) {
            continue;
        }
        if (taken == page->size) {
            return page_token(list, last);
        }
        add(at->second);
        last = at->first;
        ++taken;
    }
    return std::string();
}

/// What a Create call answers when the name is taken: the object, if it is what was asked for.
template <typename M>
core::Result<M> answer_existing(const M& existing,
                                const M& asked,
                                const std::vector<std::string_view>& output_only = {}) {
    if (auto same = check_same(existing, asked, output_only); !same) {
        return core::fail(existing.name(), same.error());
    }
    return existing;
}

/// OPI's counters, saturating at 32 bits; a latency tick is a microsecond.
opi::VolumeStats to_opi_stats(const block::DeviceStats& stats);

/// The refusal to touch what an attachment made.
core::Result<void> check_not_attached(std::string_view noun,
                                      const std::string& name,
                                      const state::Record& known);

/// "a, b and 3 more": for sentences that name what is in the way.
std::string join_names(const std::vector<std::string>& names);

}  // namespace remora::control
