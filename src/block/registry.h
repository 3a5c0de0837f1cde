// SPDX-License-Identifier: Apache-2.0
// Registry: the devices of a node by name and by UUID. On the control reactor only; owns nothing.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "block/device.h"
#include "core/result.h"

namespace remora::block {

class Registry {
  public:
    /// Errors: AlreadyExists when the name is taken.
    core::Result<void> add(Device& device);
    void remove(Device& device);
    /// Null when there is none.
    [[nodiscard]] Device* find(std::string_view name) const;
    [[nodiscard]] Device* find(const core::Uuid& uuid) const;

  private:
    std::map<std::string, Device*, std::less<>> devices_;
};

}  // namespace remora::block
