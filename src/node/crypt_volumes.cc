// SPDX-License-Identifier: Apache-2.0
#include "node/crypt_volumes.h"

#include <memory>
#include <utility>
#include <vector>

#include "core/check.h"
#include "services/crypto/crypt_device.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using services::crypto::CryptDevice;
using services::crypto::Rekey;

namespace {

std::string user_text(const std::string& name) {
    return "encrypted volume '" + name + "'";
}

}  // namespace

CryptVolumes::~CryptVolumes() {
    CHECK(crypts_.empty());
}

Task<Result<VolumeInfo>> CryptVolumes::create(EncryptedSpec spec) {
    if (!kernel_) {
        co_return fail(ErrorKind::Unavailable,
                       "no AES-XTS implementation passed its self-test when the daemon started, so "
                       "nothing is encrypted; the log names what failed: replace the machine or "
                       "the build");
    }
    const std::string name = spec.name;
    const std::string below = spec.lower;
    const auto lower = volumes_.use(below, user_text(name));
    if (!lower) {
        co_return std::unexpected(lower.error());
    }
    auto made = co_await make(std::move(spec), *lower);
    if (!made) {
        volumes_.release(below, user_text(name));
    }
    co_return made;
}

Task<Result<VolumeInfo>> CryptVolumes::make(EncryptedSpec spec, block::Device* lower) {
    auto device = CryptDevice::create(*lower,
                                      {.name = spec.name,
                                       .uuid = spec.uuid,
                                       .sector_size = spec.sector_size,
                                       .numbers = spec.numbers,
                                       .kernel = *kernel_},
                                      std::move(spec.key), reactors_);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    Crypt crypt{spec.lower, device->get(), nullptr};
    if (spec.rekey) {
        auto rekey = co_await start(**device, std::move(*spec.rekey));
        if (!rekey) {
            co_return std::unexpected(rekey.error());
        }
        crypt.rekey = std::move(*rekey);
    }
    auto added = volumes_.add_owned(std::move(*device), kOtherVolumes);
    if (!added) {
        if (crypt.rekey != nullptr) {
            co_await crypt.rekey->stop();
        }
        co_return added;
    }
    crypts_.emplace(spec.name, std::move(crypt));
    co_return added;
}

Task<CryptVolumes::Started> CryptVolumes::start(CryptDevice& device, RekeySpec spec) {
    if (keeper_ == nullptr) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "nobody keeps how far the change of a key is, so none is changed");
    }
    services::crypto::RekeyOptions options;
    if (spec.bytes_per_second > 0) {
        options.bytes_per_second = spec.bytes_per_second;
    }
    auto rekey = std::make_unique<Rekey>(device, *keeper_, options);
    if (auto started = co_await rekey->start(std::move(spec.next), std::move(spec.point));
        !started) {
        co_return std::unexpected(started.error());
    }
    co_return rekey;
}

Task<Result<void>> CryptVolumes::rekey(std::string name, RekeySpec spec) {
    const auto at = crypts_.find(name);
    if (at == crypts_.end()) {
        co_return fail(ErrorKind::NotFound, "there is no encrypted volume '" + name + "'");
    }
    Crypt& crypt = at->second;
    if (crypt.rekey != nullptr && !crypt.rekey->done()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the key of volume '" + name + "' is being changed");
    }
    if (crypt.rekey != nullptr) {
        co_await crypt.rekey->stop();
        crypt.rekey.reset();
    }
    auto started = co_await start(*crypt.device, std::move(spec));
    if (!started) {
        co_return std::unexpected(started.error());
    }
    crypt.rekey = std::move(*started);
    co_return Result<void>();
}

std::optional<RekeyProgress> CryptVolumes::rekey_progress(const std::string& name) const {
    const auto at = crypts_.find(name);
    if (at == crypts_.end() || at->second.rekey == nullptr || at->second.rekey->done()) {
        return std::nullopt;
    }
    return at->second.rekey->progress();
}

const std::string* CryptVolumes::lower_of(const std::string& name) const {
    const auto at = crypts_.find(name);
    return at == crypts_.end() ? nullptr : &at->second.lower;
}

Task<Result<void>> CryptVolumes::remove(std::string name) {
    auto device = volumes_.remove(name);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    const auto at = crypts_.find(name);
    CHECK(at != crypts_.end());
    if (at->second.rekey != nullptr) {
        co_await at->second.rekey->stop();
        at->second.rekey.reset();
    }
    device->reset();  // the keys are wiped with it
    volumes_.release(at->second.lower, user_text(name));
    crypts_.erase(at);
    co_return Result<void>();
}

Task<bool> CryptVolumes::stop_rekeys(core::Nanos deadline) {
    for (auto& [name, crypt] : crypts_) {
        if (crypt.rekey != nullptr && !co_await crypt.rekey->stop_by(deadline)) {
            co_return false;
        }
    }
    co_return true;
}

Task<std::size_t> CryptVolumes::remove_unused() {
    std::vector<std::string> names;
    names.reserve(crypts_.size());
    for (const auto& [name, crypt] : crypts_) {
        names.push_back(name);
    }
    std::size_t removed = 0;
    for (const std::string& name : names) {
        removed += co_await remove(name) ? 1U : 0U;
    }
    co_return removed;
}

}  // namespace remora::node
