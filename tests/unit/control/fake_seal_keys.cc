// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fake_seal_keys.h"

#include <algorithm>

namespace remora::test {

core::Result<control::Secret> FakeSealKeys::for_sealing() {
    made = true;
    return for_opening();
}

core::Result<control::Secret> FakeSealKeys::for_opening() {
    if (!trouble.empty()) {
        return core::fail(core::ErrorKind::FailedPrecondition, trouble);
    }
    if (!made) {
        return core::fail(core::ErrorKind::NotFound, "the seal key is not there");
    }
    return control::Secret(control::bytes_of(key));
}

core::Result<void> FakeSealKeys::fill_random(std::span<std::byte> out) {
    std::ranges::generate(out, [this] { return static_cast<std::byte>(prng_.below(256)); });
    return {};
}

}  // namespace remora::test
