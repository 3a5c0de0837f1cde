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
    explicit MemoryStore(Steps& steps);
    ~MemoryStore() override;

    core::Result<std::vector<control::StoredObject>> load() override;
    core::Result<void> commit(std::span<const control::Change> changes) override;
    [[nodiscard]] std::size_t size() const { return objects_.size(); }

  private:
    Steps& steps_;
    std::map<std::pair<control::Kind, std::string>, std::string> objects_;
};

}  // namespace remora::test
