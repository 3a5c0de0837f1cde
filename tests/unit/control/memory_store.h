// SPDX-License-Identifier: Apache-2.0
// A store in memory, each commit of which is a step.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "control/store.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

class MemoryStore final : public control::Store {
  public:
    explicit MemoryStore(Steps& steps) : steps_(steps) {}

    core::Result<std::vector<control::StoredObject>> load() override {
        std::vector<control::StoredObject> all;
        for (const auto& [key, body] : objects_) {
            all.push_back({key.first, key.second, body});
        }
        return all;
    }
    core::Result<void> commit(std::span<const control::Change> changes) override {
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
    [[nodiscard]] std::size_t size() const { return objects_.size(); }

  private:
    Steps& steps_;
    std::map<std::pair<control::Kind, std::string>, std::string> objects_;
};

}  // namespace remora::test
