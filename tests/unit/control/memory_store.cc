// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/memory_store.h"

namespace remora::test {

MemoryStore::MemoryStore(Steps& steps) : steps_(steps) {}

MemoryStore::~MemoryStore() = default;

core::Result<std::vector<control::StoredObject>> MemoryStore::load() {
    std::vector<control::StoredObject> all;
    for (const auto& [key, body] : objects_) {
        all.push_back({key.first, key.second, body});
    }
    return all;
}

core::Result<void> MemoryStore::commit(std::span<const control::Change> changes) {
    if (auto step = steps_.take("commit"); !step) {
        return step;
    }
    for (const control::Change& change : changes) {
        const std::pair key{change.object.kind, change.object.name};
        if (change.action == control::Change::Action::Put) {
            objects_[key] = change.object.body;
        } else {
            objects_.erase(key);
        }
    }
    return {};
}

}  // namespace remora::test
