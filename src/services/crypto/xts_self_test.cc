// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/xts_self_test.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/prng.h"
#include "services/crypto/xts_vectors.h"

namespace remora::services::crypto {

namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kVectorSector = 512;
// More than the tweaks that any kernel encrypts together, and no multiple of it.
constexpr std::size_t kManySectors = 37;

std::byte digit(char c) {
    return static_cast<std::byte>(c <= '9' ? c - '0' : c - 'a' + 10);
}

Bytes from_hex(std::string_view text) {
    Bytes bytes(text.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = (digit(text[2 * i]) << 4U) | digit(text[2 * i + 1]);
    }
    return bytes;
}

/// 00 01 02 ... ff 00 ...
Bytes counting(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>(i & 0xffU);
    }
    return bytes;
}

Bytes noise(std::size_t size) {
    core::Prng prng(size);
    Bytes bytes(size);
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(prng.below(256)); });
    return bytes;
}

struct Answer {
    const char* name;
    std::string_view key;
    std::uint64_t first_sector;
    std::size_t sector_size;
    Bytes plain;
    Bytes cipher;
};

std::vector<Answer> known_answers() {
    const Bytes plain = counting(kVectorSector);
    Bytes run_plain = plain;
    Bytes run_cipher;
    for (const std::string_view text : {vectors::kVector4, vectors::kVector5}) {
        const Bytes cipher = from_hex(text);
        run_plain.insert(run_plain.end(), cipher.begin(), cipher.end());
        run_cipher.insert(run_cipher.end(), cipher.begin(), cipher.end());
    }
    const Bytes last = from_hex(vectors::kVector6);
    run_cipher.insert(run_cipher.end(), last.begin(), last.end());
    return {{"IEEE 1619 vectors 4 to 6", vectors::kKey128, 0, kVectorSector, run_plain, run_cipher},
            {"IEEE 1619 vector 10", vectors::kKey256, 0xff, kVectorSector, plain,
             from_hex(vectors::kVector10)}};
}

/// Longer runs, as OpenSSL encrypts them.
core::Result<std::vector<Answer>> openssl_answers() {
    std::vector<Answer> answers;
    for (const std::string_view text : {vectors::kKey128, vectors::kKey256}) {
        for (const std::size_t size : {std::size_t{512}, std::size_t{4096}}) {
            const std::uint64_t first = (std::uint64_t{1} << 32U) - 3;  // the number's upper half
            Answer answer{
                "the comparison with OpenSSL", text, first, size, noise(size * kManySectors),
                Bytes(size * kManySectors)};
            const auto key = XtsKey::create(from_hex(text));
            auto evp = AesXts::create(**key, SectorNumbers::Sectors, XtsKernel::Evp);
            if (!evp) {
                return std::unexpected(evp.error());
            }
            (*evp)->encrypt(first, size, answer.plain, answer.cipher);
            answers.push_back(std::move(answer));
        }
    }
    return answers;
}

core::Result<void> check_answer(std::string_view name,
                                const XtsUnderTest& crypt,
                                const Answer& answer) {
    const auto key = XtsKey::create(from_hex(answer.key));
    CHECK(key);
    for (const XtsDirection direction : {XtsDirection::Encrypt, XtsDirection::Decrypt}) {
        const bool encrypts = direction == XtsDirection::Encrypt;
        const Bytes& in = encrypts ? answer.plain : answer.cipher;
        Bytes out(in.size());
        crypt(**key, direction,
              {.first_tweak = answer.first_sector,
               .tweak_step = 1,
               .sector_size = answer.sector_size,
               .sectors = in.size() / answer.sector_size,
               .in = in.data(),
               .out = out.data()});
        if (out != (encrypts ? answer.cipher : answer.plain)) {
            return core::fail(core::ErrorKind::Internal,
                              "the AES-XTS kernel '" + std::string(name) + "' fails " +
                                  answer.name +
                                  (encrypts ? " when it encrypts" : " when it decrypts") +
                                  ": this processor, or this build, cannot be trusted with data");
        }
    }
    return {};
}

core::Result<void> try_kernel(XtsKernel kernel) {
    core::Result<void> made;
    const auto crypt = [&](const XtsKey& key, XtsDirection direction, const XtsRun& run) {
        auto cipher = AesXts::create(key, SectorNumbers::Sectors, kernel);
        if (!cipher) {
            made = std::unexpected(cipher.error());
            return;
        }
        const std::size_t bytes = run.sectors * run.sector_size;
        const std::span in(run.in, bytes);
        const std::span out(run.out, bytes);
        if (direction == XtsDirection::Encrypt) {
            (*cipher)->encrypt(run.first_tweak, run.sector_size, in, out);
        } else {
            (*cipher)->decrypt(run.first_tweak, run.sector_size, in, out);
        }
    };
    auto right = self_test_of(to_string(kernel), crypt);
    return made ? right : made;
}

}  // namespace

core::Result<void> self_test_of(std::string_view name, const XtsUnderTest& crypt) {
    std::vector<Answer> answers = known_answers();
    auto longer = openssl_answers();
    if (!longer) {
        return std::unexpected(longer.error());
    }
    std::ranges::move(*longer, std::back_inserter(answers));
    for (const Answer& answer : answers) {
        if (auto right = check_answer(name, crypt, answer); !right) {
            return right;
        }
    }
    return {};
}

std::vector<KernelTrial> try_kernels() {
    std::vector<KernelTrial> trials;
    for (const XtsKernel kernel : kXtsKernels) {
        if (has_kernel(kernel)) {
            trials.push_back({kernel, try_kernel(kernel)});
        }
    }
    return trials;
}

}  // namespace remora::services::crypto
