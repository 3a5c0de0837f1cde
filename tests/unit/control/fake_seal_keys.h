// SPDX-License-Identifier: Apache-2.0
// FakeSealKeys: a seal key that the test gives, and bytes that are random to nobody.
#pragma once

#include <span>
#include <string>

#include "control/seal_keys.h"
#include "core/prng.h"

namespace remora::test {

class FakeSealKeys final : public control::SealKeys {
  public:
    core::Result<control::Secret> for_sealing() override;
    core::Result<control::Secret> for_opening() override;
    core::Result<void> fill_random(std::span<std::byte> out) override;

    std::string key = std::string(control::kSealKeyBytes, 's');
    bool made = false;    ///< There is one.
    std::string trouble;  ///< Why it cannot be read.

  private:
    core::Prng prng_{11};
};

}  // namespace remora::test
