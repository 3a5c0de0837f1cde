// SPDX-License-Identifier: Apache-2.0
#include "node/crypt_volumes.h"

#include <utility>
#include <vector>

#include "core/check.h"
#include "services/crypto/crypt_device.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using services::crypto::CryptDevice;

namespace {

std::string user_text(const std::string& name) {
    return "encrypted volume '" + name + "'";
}

}  // namespace

CryptVolumes::~CryptVolumes() {
    CHECK(lowers_.empty());
}

Result<VolumeInfo> CryptVolumes::create(EncryptedSpec spec) {
    if (!kernel_) {
        return fail(ErrorKind::Unavailable,
                    "no AES-XTS implementation passed its self-test when the daemon started, so "
                    "nothing is encrypted; the log names what failed: replace the machine or the "
                    "build");
    }
    const auto lower = volumes_.use(spec.lower, user_text(spec.name));
    if (!lower) {
        return std::unexpected(lower.error());
    }
    auto device = CryptDevice::create(**lower,
                                      {.name = spec.name,
                                       .uuid = spec.uuid,
                                       .sector_size = spec.sector_size,
                                       .numbers = spec.numbers,
                                       .kernel = *kernel_},
                                      std::move(spec.key), reactors_);
    auto added = device ? volumes_.add_owned(std::move(*device))
                        : Result<VolumeInfo>(std::unexpected(device.error()));
    if (!added) {
        volumes_.release(spec.lower, user_text(spec.name));
        return added;
    }
    lowers_.emplace(spec.name, spec.lower);
    return added;
}

const std::string* CryptVolumes::lower_of(const std::string& name) const {
    const auto at = lowers_.find(name);
    return at == lowers_.end() ? nullptr : &at->second;
}

Result<void> CryptVolumes::remove(const std::string& name) {
    auto device = volumes_.remove(name);
    if (!device) {
        return std::unexpected(device.error());
    }
    device->reset();  // the key is wiped with it
    const auto at = lowers_.find(name);
    CHECK(at != lowers_.end());
    volumes_.release(at->second, user_text(name));
    lowers_.erase(at);
    return {};
}

std::size_t CryptVolumes::remove_unused() {
    std::vector<std::string> names;
    names.reserve(lowers_.size());
    for (const auto& [name, lower] : lowers_) {
        names.push_back(name);
    }
    std::size_t removed = 0;
    for (const std::string& name : names) {
        removed += remove(name) ? 1U : 0U;
    }
    return removed;
}

}  // namespace remora::node
