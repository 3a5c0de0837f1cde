// SPDX-License-Identifier: Apache-2.0
// The main of a fuzz target where no fuzzer is linked in: runs every file of the folders (or each
// file) it is given once, and says how many there were. Nothing to run is an error.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

/// The files of `path`, by name; false when there is nothing of that name, or nothing in it.
bool collect(const fs::path& path, std::vector<fs::path>& files) {
    std::error_code error;
    if (fs::is_regular_file(path, error)) {
        files.push_back(path);
        return true;
    }
    if (!fs::is_directory(path, error)) {
        std::fprintf(stderr, "there is no file or folder '%s'\n", path.c_str());
        return false;
    }
    const std::size_t before = files.size();
    for (const auto& entry : fs::directory_iterator(path)) {
        if (entry.is_regular_file()) {
            files.push_back(entry.path());
        }
    }
    if (files.size() == before) {
        std::fprintf(stderr, "the corpus folder '%s' is empty\n", path.c_str());
        return false;
    }
    return true;
}

bool replay(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "cannot read '%s'\n", path.c_str());
        return false;
    }
    // A vector of exactly the size, so that a sanitizer sees a read past the input's end.
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(input.data(), input.size());
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s FOLDER|FILE...\n", argv[0]);
        return 2;
    }
    std::vector<fs::path> files;
    for (int i = 1; i < argc; ++i) {
        if (!collect(argv[i], files)) {
            return 1;
        }
    }
    std::ranges::sort(files);
    for (const fs::path& file : files) {
        if (!replay(file)) {
            return 1;
        }
    }
    std::printf("%zu inputs replayed\n", files.size());
    return 0;
}
