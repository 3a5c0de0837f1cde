// SPDX-License-Identifier: Apache-2.0
// FakeSealKeys: a seal key that the test gives, and bytes that are random to nobody.
#pragma once

#include <algorithm>
#include <string>

#include "control/seal_keys.h"
#include "core/prng.h"

namespace remora::test {

class FakeSealKeys final : public control::SealKeys {
  public:
    core::Result<control::Secret> for_sealing() override {
        made = true;
        return for_opening();
    }
    core::Result<control::Secret> for_opening() override {
        if (!trouble.empty()) {
            return core::fail(core::ErrorKind::FailedPrecondition, trouble);
        }
        if (!made) {
            return core::fail(core::ErrorKind::NotFound, "the seal key is not there");
        }
        return control::Secret(control::bytes_of(key));
    }
    core::Result<void> fill_random(std::span<std::byte> out) override {
        std::ranges::generate(out, [this] { return static_cast<std::byte>(prng_.below(256)); });
        return {};
    }

    std::string key = std::string(control::kSealKeyBytes, 's');
    bool made = false;    ///< There is one.
    std::string trouble;  ///< Why it cannot be read.

  private:
    core::Prng prng_{11};
};

}  // namespace remora::test
